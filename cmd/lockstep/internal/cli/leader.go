package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
)

const leaderHelp = `Prints the value of whoever leads the election NAME. Exits 1 if nobody does.

With --watch it prints who leads, and then every change, one a line: leader, token,
value; or vacant. No older term follows a newer one; terms that were over before they
could be shown may be missing, the last never is. The token is 0 where the engine has
not said it yet, and for a leader of another program's library.`

func (a *app) leaderCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "leader NAME",
		Short:             "Print who leads an election",
		Long:              leaderHelp,
		Args:              between(1, 1),
		ValidArgsFunction: a.completeNames(1),
	}
	a.asking(cmd, func(ctx context.Context, c *lockstep.Client, args []string) error {
		return a.leader(ctx, c.Election(args[0]), args[0])
	})
	a.watching(cmd, func(ctx context.Context, c *lockstep.Client, name string) error {
		return a.observe(ctx, c.Election(name), name)
	})
	return cmd
}

// watching makes a subcommand that asks for a name once one that follows it with
// --watch, until a signal comes.
func (a *app) watching(cmd *cobra.Command, run func(ctx context.Context, c *lockstep.Client, name string) error) {
	watch := cmd.Flags().Bool("watch", false, "print every change, until a signal comes")
	ask := cmd.RunE
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if !*watch {
			return ask(cmd, args)
		}
		if a.timeout.given {
			return usage("--watch goes on until a signal comes: it has no --timeout")
		}
		return a.await(cmd.Context(), &waitFlags{}, args[0], "", func(w *wait, c *lockstep.Client) error { return run(w, c, args[0]) })
	}
}

func (a *app) leader(ctx context.Context, e *lockstep.Election, name string) error {
	l, err := e.Leader(ctx)
	if err != nil {
		return err
	}
	switch {
	case a.json:
		err = a.printJSON(leaderJSON(name, l))
	case !l.Vacant():
		_, err = fmt.Fprintln(a.out, l.Value)
	}
	if err == nil && l.Vacant() {
		return a.absent(errors.New("nobody leads " + shown(name)))
	}
	return err
}

// absent is the end of a question whose answer is that there is none.
func (a *app) absent(why error) error {
	if a.json { // the answer has been given
		return quit(codeAbsent)
	}
	return &exitError{codeAbsent, why}
}

func (a *app) observe(ctx context.Context, e *lockstep.Election, name string) error {
	for l, err := range e.Observe(ctx) {
		if err == nil {
			err = a.printLeader(name, l)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (a *app) printLeader(name string, l lockstep.Leader) (err error) {
	switch {
	case a.json:
		err = a.printJSON(leaderJSON(name, l))
	case l.Vacant():
		_, err = fmt.Fprintln(a.out, "vacant")
	default:
		_, err = fmt.Fprintf(a.out, "leader\t%d\t%s\n", l.Token, shown(l.Value))
	}
	return err
}

// jsonLeader is who leads; without an id nobody does.
type jsonLeader struct {
	Name    string           `json:"name"`
	ID      lockstep.ClaimID `json:"id,omitempty"`
	Value   *string          `json:"value,omitempty"`
	Token   lockstep.Token   `json:"token,omitempty,string"`
	Foreign bool             `json:"foreign,omitempty"`
}

func leaderJSON(name string, l lockstep.Leader) jsonLeader {
	j := jsonLeader{Name: name, ID: l.ID, Token: l.Token, Foreign: l.Foreign}
	if !l.Vacant() {
		j.Value = &l.Value
	}
	return j
}
