package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

const semHelp = `Runs the command while holding one of N slots of NAME, or as many as --weight says.
All users of the name give the same N. The line is fair: a heavy one is not overtaken
by light ones.

Everything else is as for a lock: see lockstep lock --help. lockstep lock --slots N is
the same with the weight 1.`

func (a *app) semCommand() *cobra.Command {
	var f holdFlags
	var slots, weight int
	var note string
	cmd := &cobra.Command{
		Use:     "sem NAME -n N [--weight K] -- COMMAND [ARG...]",
		Short:   "Run a command while holding some of N slots",
		Long:    semHelp,
		Example: "  lockstep sem encode -n 8 --weight 3 -- ./encode.sh big.mov",
		RunE: func(cmd *cobra.Command, args []string) error {
			names, argv := words(cmd, args)
			j, err := f.job(cmd, "place", names, argv)
			switch {
			case err != nil:
				return err
			case len(names) != 1 || len(j.argv) == 0:
				return usage("usage: lockstep sem NAME -n N -- COMMAND")
			case !cmd.Flags().Changed("slots"):
				return usage("of how many slots? lockstep sem %s -n N -- COMMAND", names[0])
			case slots < 1:
				return usage("-n %d: at least 1", slots)
			case weight < 1 || weight > slots:
				return usage("--weight %d: 1 to %d, as there are slots", weight, slots)
			case note != "":
				j.note = note
			}
			j.take = func(ctx context.Context, c *lockstep.Client, try bool, opts []lockstep.LockOption) (*held, error) {
				s := c.Semaphore(names[0], slots, opts...)
				if try {
					return one(s.TryAcquire(ctx, weight))
				}
				return one(s.Acquire(ctx, weight))
			}
			return a.hold(cmd.Context(), j)
		},
		ValidArgsFunction: a.completeNames(1),
	}
	fl := cmd.Flags()
	f.register(cmd, "place", false)
	fl.IntVarP(&slots, "slots", "n", 0, "how many slots there are: `N`")
	fl.IntVar(&weight, "weight", 1, "how many of them this takes: `K`")
	fl.StringVar(&note, "note", "", "what others see of this holder (default: host, process id and command)")
	return cmd
}
