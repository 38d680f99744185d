package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

const electHelp = `Waits until it leads the election NAME, behind the candidates that came before, and
runs the command while it leads, under the rules of lockstep lock: the command never
runs without the lead. It exits with the command's code, and the next in line leads.

VALUE is what others see of the leader (lockstep leader NAME): an address, a name;
host, process id and command where it is not given.

Without a command it says when it leads, and leads until a signal ends it (128 + its
number) or the lead is lost (70).

The command's environment and the exit codes are those of lockstep lock: see
lockstep lock --help. LOCKSTEP_TOKEN is greater in every later term.`

func (a *app) electCommand() *cobra.Command {
	var f holdFlags
	cmd := &cobra.Command{
		Use:   "elect NAME [VALUE] [-- COMMAND [ARG...]]",
		Short: "Run a command while leading an election",
		Long:  electHelp,
		Example: `  lockstep elect scheduler host-7:8080 -- ./scheduler
  lockstep elect scheduler                  lead until ^C`,
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := a.candidacy(cmd, &f, args)
			if err != nil {
				return err
			}
			return a.hold(cmd.Context(), job)
		},
		ValidArgsFunction: a.completeNames(1),
	}
	f.register(cmd, "lead", true)
	return cmd
}

func (a *app) candidacy(cmd *cobra.Command, f *holdFlags, args []string) (*job, error) {
	before, argv := words(cmd, args)
	switch {
	case len(before) == 0:
		return nil, usage("no name: lockstep elect NAME [VALUE] [-- COMMAND]")
	case len(before) > 2:
		return nil, usage("put -- before the command: lockstep elect %s %s -- %s …", before[0], before[1], before[2])
	}
	j, err := f.job(cmd, "lead", before[:1], argv)
	if err != nil {
		return nil, err
	}
	if len(before) > 1 {
		j.note = before[1]
	}
	j.take = func(ctx context.Context, c *lockstep.Client, try bool, opts []lockstep.LockOption) (*held, error) {
		e := c.Election(before[0], opts...)
		campaign := e.Campaign
		if try {
			campaign = e.TryCampaign
		}
		lead, err := campaign(ctx, j.note)
		if err != nil {
			return nil, err
		}
		return one(lead.Lease, nil)
	}
	j.say = func(h *held) error { return a.sayLeads(before[0], j.note, h.leases[0]) }
	return j, nil
}

func (a *app) sayLeads(name, value string, lead *lockstep.Lease) error {
	if a.json {
		return a.printJSON(jsonLeader{Name: name, ID: lead.ID(), Value: &value, Token: lead.Token()})
	}
	_, err := fmt.Fprintf(a.out, "leading %s as %s, token %d\n", shown(name), shown(value), lead.Token())
	return err
}
