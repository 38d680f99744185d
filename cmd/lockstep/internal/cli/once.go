package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/guard"
)

const onceHelp = `Of all who say once NAME, one runs its command, and all print what that wrote to
standard output and exit 0: those who come while it runs wait for it, those who come
later get it at once, until --keep is over (24h unless told otherwise).

A command that fails, is ended or loses its lease is no result: nothing is recorded,
this exits with the command's code or 70, and the next in line begins. So a command may
be begun more than once. Exactly one result is recorded.

The command runs under a lease, with the guardian and the environment of lockstep lock;
LOCKSTEP_TOKEN is greater for every later run. Its standard output is the result, up to
some 700 KiB, and is printed when it has ended; standard error is its own.

Exit codes: 0 the result is printed; the command's, 70, 126 and 127 from who ran it
  75  --timeout has passed while another ran it; --conflict-exit-code gives another
  64, 69 as for a lock: see lockstep lock --help; 64 also for too long a result`

type onceFlags struct {
	waitFlags

	script string
	keep   seconds
}

func (a *app) onceCommand() *cobra.Command {
	var f onceFlags
	cmd := &cobra.Command{
		Use:     "once NAME -- COMMAND [ARG...]",
		Short:   "Run a command once, and print what came of it everywhere",
		Long:    onceHelp,
		Example: "  lockstep once migrate/v7 -- ./migrate.sh\n  id=$(lockstep once cluster-id -- uuidgen)",
		RunE: func(cmd *cobra.Command, args []string) error {
			names, argv := words(cmd, args)
			argv, err := commandOf(cmd, argv, f.script)
			switch {
			case err != nil:
				return err
			case len(names) != 1 || len(argv) == 0:
				return usage("usage: lockstep once NAME -- COMMAND")
			}
			return a.once(cmd.Context(), &f, names[0], argv)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	f.register(cmd)
	scriptFlag(cmd, &f.script)
	keepFlag(cmd, &f.keep)
	return cmd
}

func (a *app) once(ctx context.Context, f *onceFlags, name string, argv []string) error {
	r := &onceRun{a: a, name: name, argv: argv}
	err := a.await(ctx, &f.waitFlags, name, "another runs it", func(w *wait, c *lockstep.Client) error {
		o := c.Once(name)
		if f.keep.given {
			o = o.Keep(f.keep.d)
		}
		var result []byte
		var err error
		_ = a.inLine(w, c, name, func() error {
			result, err = o.Do(w, func(ctx context.Context) ([]byte, error) { return r.run(ctx, w, c) })
			if r.ran { // what it may have lost is no place in line
				return nil
			}
			return err
		})
		if err != nil {
			return errors.Join(verdict(err), a.showRun(r))
		}
		return a.showResult(name, result, r.ran)
	})
	if r.interrupted {
		interruptGroup()
	}
	return err
}

// onceRun is the command's run, if it came to that here.
type onceRun struct {
	a    *app
	name string
	argv []string

	ran         bool
	output      []byte
	interrupted bool
}

// run runs the command under the lease that ctx carries. Its error has the exit code.
func (r *onceRun) run(ctx context.Context, w *wait, c *lockstep.Client) ([]byte, error) {
	if err := w.over(); err != nil {
		return nil, err
	}
	out, err := os.CreateTemp("", "lockstep-once-")
	if err != nil {
		return nil, fmt.Errorf("no place for the command's output: %w", err)
	}
	defer os.Remove(out.Name()) // Windows needs it closed for that
	defer out.Close()
	_ = os.Remove(out.Name()) // elsewhere nothing of it stays, whoever is killed
	lease := lockstep.LeaseFrom(ctx)
	h, _ := one(lease, nil)
	r.ran = true
	r.a.note("running %q, token %d", r.name, lease.Token())
	result, err := r.a.guarded(c, h, guard.Child{
		Argv: r.argv, Env: childEnv(os.Environ(), []string{r.name}, h.tokens(), r.a.shownURL()), Signals: w.signals, Stdout: out,
	})
	if err != nil {
		return nil, err
	}
	r.interrupted = result.Interrupted
	// A byte more than any engine takes, so that the library says how many it does.
	if r.output, err = io.ReadAll(io.NewSectionReader(out, 0, lockstep.MaxValue+1)); err != nil {
		return nil, fmt.Errorf("the command's output: %w", err)
	}
	switch {
	case result.Cause != guard.ByItself:
		return nil, lostError("lease", h, result.Cause)
	case result.NotStarted != "":
		return nil, &exitError{result.Code, errors.New(result.NotStarted)}
	}
	return r.output, quitUnlessZero(result.Code)
}

// showRun prints what a command wrote that is not recorded.
func (a *app) showRun(r *onceRun) error {
	if a.json {
		return nil
	}
	_, err := a.out.Write(r.output)
	return err
}

func (a *app) showResult(name string, result []byte, ran bool) error {
	if !a.json {
		_, err := a.out.Write(result)
		return err
	}
	return a.printJSON(struct {
		Name string `json:"name"`
		Ran  bool   `json:"ran"` // here
		jsonValue
	}{name, ran, valueJSON(result)})
}
