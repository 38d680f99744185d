package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/guard"
)

const joinHelp = `Makes this a member of the GROUP, whom others see (lockstep members GROUP), and runs the
command while it is; without a command it says when it has joined, and is a member
until a signal comes. No two members have the same --id: it waits for one that has it.

Being a member is a notice, not a permit: the command goes on through an interruption,
and the member joins again by itself. When this process is killed the command's group
is ended (TERM, then KILL). Signals, the terminal and the environment are as for a
lock; LOCKSTEP_ID is the member's id. Others see at once that it is gone, or after
--ttl where the engine is remote and this process was killed.

Exit codes: the command's own, or 128 + the signal that ended it
  75  --timeout has passed and another member still has the id; --conflict-exit-code
      gives another
  64, 69, 126, 127 as for a lock: see lockstep lock --help`

type joinFlags struct {
	waitFlags

	id     string
	data   string
	script string
}

func (a *app) joinCommand() *cobra.Command {
	var f joinFlags
	cmd := &cobra.Command{
		Use:     "join GROUP [-- COMMAND [ARG...]]",
		Short:   "Be a member of a group while a command runs",
		Long:    joinHelp,
		Example: "  lockstep join workers --id \"$(hostname)\" --data 10.0.0.7:8080 -- ./worker",
		RunE: func(cmd *cobra.Command, args []string) error {
			before, argv := words(cmd, args)
			argv, err := commandOf(cmd, argv, f.script)
			switch {
			case err != nil:
				return err
			case len(before) != 1:
				return usage("usage: lockstep join GROUP [-- COMMAND]")
			}
			return a.join(cmd.Context(), &f, before[0], argv)
		},
		ValidArgsFunction: a.completeNames(1),
	}
	f.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.id, "id", "", "this member's `id` (default: one that nobody else has)")
	fl.StringVar(&f.data, "data", "", "what others see beside the id: `text`")
	scriptFlag(cmd, &f.script)
	return cmd
}

func (a *app) join(ctx context.Context, f *joinFlags, group string, argv []string) error {
	var result guard.Result
	err := a.await(ctx, &f.waitFlags, group, fmt.Sprintf("another member has the id %q", f.id), func(w *wait, c *lockstep.Client) error {
		var m *lockstep.Membership
		err := a.inLine(w, c, group, func() (err error) {
			m, err = c.Group(group).Join(w, f.id, []byte(f.data))
			return err
		})
		if err != nil {
			return err
		}
		defer a.leave(m)
		if err := w.over(); err != nil {
			return err
		}
		if len(argv) == 0 {
			return a.beMember(group, m, w.signals)
		}
		env := append(childEnv(os.Environ(), []string{group}, []lockstep.Token{m.Token()}, a.shownURL()), envID+"="+m.ID())
		result, err = a.guarded(c, nil, guard.Child{Argv: argv, Env: env, Signals: w.signals})
		return a.ended(result, err)
	})
	if result.Interrupted {
		interruptGroup()
	}
	return err
}

// ended is what a command that needed no lease has come to.
func (a *app) ended(result guard.Result, err error) error {
	switch {
	case err != nil:
		return err
	case result.NotStarted != "":
		return &exitError{result.Code, errors.New(result.NotStarted)}
	case result.Cause != guard.ByItself:
		return &exitError{codeLost, errors.New("the guardian was killed, so the command was ended")}
	}
	return quitUnlessZero(result.Code)
}

func (a *app) leave(m *lockstep.Membership) {
	ctx, cancel := context.WithTimeout(context.Background(), releaseWithin)
	defer cancel()
	if err := m.Leave(ctx); err != nil {
		a.warn("the membership ends with its TTL only: " + plain(err))
	}
}

// beMember is one until a signal comes, or the engine refuses to have it back.
func (a *app) beMember(group string, m *lockstep.Membership, signals <-chan os.Signal) error {
	if err := a.sayJoined(group, m); err != nil {
		return err
	}
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for {
		select {
		case s := <-signals:
			return interrupted(s)
		case <-look.C:
			if err := m.Err(); err != nil {
				return err
			}
		}
	}
}

func (a *app) sayJoined(group string, m *lockstep.Membership) error {
	if a.json {
		return a.printJSON(struct {
			Group string         `json:"group"`
			ID    string         `json:"id"`
			Token lockstep.Token `json:"token,string"`
		}{group, m.ID(), m.Token()})
	}
	_, err := fmt.Fprintf(a.out, "joined %s as %s\n", shown(group), shown(m.ID()))
	return err
}
