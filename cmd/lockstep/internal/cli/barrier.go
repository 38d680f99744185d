package cli

import (
	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

const barrierHelp = `Arrives at the barrier NAME and waits until N have; then all of them go on, and exit 0.
Whoever crashes, or is ended while it waits, has not arrived: another takes its place.
A barrier may be used again and again: each N that go are a round of their own. All who
arrive say the same N.

Exit codes: 0 all have arrived
  70  the place was lost while waiting (this process was stopped for too long)
  75  --timeout has passed; --conflict-exit-code gives another
  64, 69 as for a lock: see lockstep lock --help`

func (a *app) barrierCommand() *cobra.Command {
	var f waitFlags
	var n int
	cmd := &cobra.Command{
		Use:     "barrier NAME -n N",
		Short:   "Wait until so many have arrived",
		Long:    barrierHelp,
		Example: "  ./load.sh && lockstep barrier loaded -n 3 --timeout 10m && ./sum.sh",
		Args:    between(1, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if !cmd.Flags().Changed("arrivals") {
				return usage("how many have to arrive? lockstep barrier %s -n N", args[0])
			}
			return a.await(cmd.Context(), &f, args[0], "not all have arrived in time", func(w *wait, c *lockstep.Client) error {
				if err := c.Barrier(args[0], n).Wait(w); err != nil || !a.json {
					return err
				}
				return a.printJSON(struct {
					Name string `json:"name"`
					N    int    `json:"n"`
				}{args[0], n})
			})
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.register(cmd)
	cmd.Flags().IntVarP(&n, "arrivals", "n", 0, "how many have to arrive: `N`")
	return cmd
}
