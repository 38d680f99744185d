package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/tty"
)

const releaseHelp = `Ends the claims of whoever holds NAME, and lets the next in. The holder learns of
it at its next renewal only: until then two may act, and nothing but tokens
protects what they write. Asks first; --yes does not.

With --id it ends one claim of several. A waiter that is ended so queues again, at
the end of the line.`

func (a *app) releaseCommand() *cobra.Command {
	var force, yes bool
	var id string
	cmd := &cobra.Command{
		Use:               "release --force NAME",
		Short:             "Take a lock away from its holder",
		Long:              releaseHelp,
		Args:              between(1, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	cmd.Flags().BoolVar(&force, "force", false, "needed: the holder is not asked")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().StringVar(&id, "id", "", "only the claim with this `id`, held or waiting (see lockstep status)")
	return a.asking(cmd, func(ctx context.Context, c *lockstep.Client, args []string) error {
		name := args[0]
		if !force {
			return usage("a lock is given back by its holder; to take it away: lockstep release --force %s", name)
		}
		l, err := c.Line(ctx, name)
		if err != nil {
			return err
		}
		claims := l.Holders
		if id != "" {
			claims = only(lockstep.ClaimID(id), l.Holders, l.Waiters)
		}
		if len(claims) > 0 && !yes {
			if err := a.confirm(l, claims); err != nil {
				return err
			}
		}
		for _, p := range claims {
			if err := c.Remove(ctx, name, p.ID); err != nil {
				return err
			}
		}
		return a.removed(name, claims)
	})
}

func only(id lockstep.ClaimID, places ...[]lockstep.Place) []lockstep.Place {
	for _, ps := range places {
		for _, p := range ps {
			if p.ID == id {
				return []lockstep.Place{p}
			}
		}
	}
	return nil
}

// confirm asks on the terminal. Who cannot be asked has to say --yes.
func (a *app) confirm(l lockstep.Line, claims []lockstep.Place) error {
	if a.json || !tty.IsTerminal(a.in) || !tty.IsTerminal(a.err) {
		return usage("nobody to ask: say --yes to take %q away from %s", l.Name, whoHolds(lockstep.Line{Holders: claims}))
	}
	for _, p := range claims {
		fmt.Fprintf(a.err, "%s  %s\n", shown(l.Name), strings.Join(details(l, p), "  "))
	}
	fmt.Fprint(a.err, "It may go on for a while beside the next holder. Take it away? [y/N] ")
	answer, err := bufio.NewReader(a.in).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return &exitError{codeHeld, errors.New("left as it was")}
}

func (a *app) removed(name string, claims []lockstep.Place) error {
	if a.json {
		return a.printJSON(struct {
			Name    string      `json:"name"`
			Removed []jsonPlace `json:"removed"`
		}{name, places(claims)})
	}
	if len(claims) == 0 {
		_, err := fmt.Fprintf(a.out, "%s: nobody to take it from\n", shown(name))
		return err
	}
	for _, p := range claims {
		if _, err := fmt.Fprintf(a.out, "%s: taken away from %s\n", shown(name), who(p)); err != nil {
			return err
		}
	}
	return nil
}
