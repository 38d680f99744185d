package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/guard"
	"github.com/lockstep-go/lockstep/schedule"
)

const cronHelp = `Runs the command at the ticks of EXPR, each at most once among all who say cron NAME
with the same EXPR, until a signal ends it. Start it on every host: who is there takes
turns, and two clocks that differ cannot make a tick run twice. A tick whose runner
crashes is not run again.

EXPR is a cron expression: minute, hour, day, month and day of the week, with the
seconds before them where there are six; @hourly, @daily and so on; or "@every 5m". Its
time zone is UTC, or the one that it begins with: "CRON_TZ=Europe/Berlin 0 3 * * *".

While the command runs the lock NAME is held, with the guardian and the environment of
lockstep lock, and LOCKSTEP_TICK is the tick's time (RFC 3339). A tick that comes while
an earlier one still runs is left out. A command that fails, or loses its lock, is told
on standard error, and the schedule goes on.

TERM, INT, HUP and QUIT are passed on to the command that runs, and end the schedule
once that has ended, with 128 + the signal's number; USR1 and USR2 are only passed on.
Other exit codes are 64, 69, 126 and 127 as for a lock: see lockstep lock --help.`

type cronFlags struct {
	ttl    seconds
	late   seconds
	script string
}

func (a *app) cronCommand() *cobra.Command {
	var f cronFlags
	cmd := &cobra.Command{
		Use:   "cron EXPR NAME -- COMMAND [ARG...]",
		Short: "Run a command at the ticks of a schedule, once among all hosts",
		Long:  cronHelp,
		Example: `  lockstep cron '30 3 * * *' nightly -- ./report.sh
  lockstep cron '@every 5m' sweep -c 'find /tmp -mtime +1 -delete'`,
		RunE: func(cmd *cobra.Command, args []string) error {
			before, argv := words(cmd, args)
			argv, err := commandOf(cmd, argv, f.script)
			switch {
			case err != nil:
				return err
			case len(before) != 2 || len(argv) == 0:
				return usage("usage: lockstep cron EXPR NAME -- COMMAND; quote EXPR, it is one word")
			}
			times, err := schedule.Cron(before[0])
			if err != nil {
				return err
			}
			return a.cron(cmd.Context(), &f, &ticker{a: a, name: before[1], argv: argv}, times)
		},
		ValidArgsFunction: cobra.NoFileCompletions,
	}
	fl := cmd.Flags()
	fl.Var(&f.late, "late", "a tick that nobody has taken for this `duration` is missed (default 1m)")
	fl.Var(&f.ttl, "ttl", "`duration` after which others take over from a host that is gone (default 10s)")
	scriptFlag(cmd, &f.script)
	return cmd
}

func (a *app) cron(ctx context.Context, f *cronFlags, t *ticker, times schedule.Times) error {
	ctx, end := context.WithCancelCause(ctx)
	t.end, t.signals = end, make(chan os.Signal, 16)
	stop := t.listen(guard.Signals())
	opts := (&waitFlags{ttl: f.ttl}).options()
	err := a.with(ctx, func(c *lockstep.Client) error {
		job := schedule.New(c, t.name, times).Report(t.report)
		if f.late.given {
			job = job.Late(f.late.d)
		}
		return job.Run(ctx, func(ctx context.Context, tick time.Time) error { return t.run(ctx, c, tick) })
	}, opts...)
	cause := context.Cause(ctx)
	stop()
	if t.interrupted {
		interruptGroup()
	}
	if cause != nil {
		return cause
	}
	return err
}

// ticker is a program's part in a schedule. One command runs at a time.
type ticker struct {
	a    *app
	name string
	argv []string
	end  context.CancelCauseFunc // of the schedule

	running     atomic.Bool
	signals     chan os.Signal // for the command that runs
	interrupted bool
}

// listen passes signals on to the command that runs, and has those that ask for an
// end be one.
func (t *ticker) listen(from <-chan os.Signal) (stop func()) {
	ended := make(chan struct{})
	var task sync.WaitGroup
	task.Go(func() {
		for {
			select {
			case <-ended:
				return
			case s := <-from:
				t.heed(s)
			}
		}
	})
	return func() {
		t.end(nil)
		close(ended)
		task.Wait()
	}
}

// heed and run look at each other in opposite orders, so that no command starts that
// has not been told.
func (t *ticker) heed(s os.Signal) {
	if passedOnOnly(s) {
		if t.running.Load() {
			t.pass(s)
		}
		return
	}
	t.end(interrupted(s))
	if t.running.Load() {
		t.pass(s)
	}
}

func (t *ticker) pass(s os.Signal) {
	select {
	case t.signals <- s:
	default: // it has more than enough of them
	}
}

func (t *ticker) run(ctx context.Context, c *lockstep.Client, tick time.Time) error {
	for len(t.signals) > 0 {
		<-t.signals // of the command before
	}
	t.running.Store(true)
	defer t.running.Store(false)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	h, _ := one(lockstep.LeaseFrom(ctx), nil)
	env := append(childEnv(os.Environ(), []string{t.name}, h.tokens(), t.a.shownURL()), envTick+"="+tick.Format(time.RFC3339Nano))
	result, err := t.a.guarded(c, h, guard.Child{Argv: t.argv, Env: env, Signals: t.signals})
	switch {
	case err != nil:
		return err
	case result.NotStarted != "":
		err = &exitError{result.Code, errors.New(result.NotStarted)}
		t.end(err)
		return err
	case result.Cause != guard.ByItself:
		return lostError("lock", h, result.Cause)
	case result.Interrupted:
		t.interrupted = true
		t.end(interrupted(syscall.SIGINT))
	}
	return quitUnlessZero(result.Code)
}

// report tells what became of a tick: always where it did not go well here.
func (t *ticker) report(r schedule.Report) {
	tick := r.Tick.Format(time.RFC3339)
	var exit *exitError
	switch {
	case t.a.json:
		_ = t.a.reportJSON(t.name, r)
	case errors.As(r.Err, &exit) && exit.err == nil:
		t.a.warn(fmt.Sprintf("%s: the command ended with %d", tick, exit.code))
	case r.Err != nil && r.Outcome != schedule.Skipped:
		t.a.warn(tick + ": " + plain(verdict(r.Err)))
	default:
		t.a.note("%s: %s", tick, r.Outcome)
	}
}

// reportJSON goes to standard error: standard output is the command's.
func (a *app) reportJSON(name string, r schedule.Report) error {
	report := struct {
		Name    string           `json:"name"`
		Tick    string           `json:"tick"`
		Outcome schedule.Outcome `json:"outcome"`
		Code    int              `json:"code"`
		Error   string           `json:"error,omitempty"`
	}{name, r.Tick.Format(time.RFC3339Nano), r.Outcome, codeOf(r.Err), ""}
	var exit *exitError
	if r.Err != nil && (!errors.As(r.Err, &exit) || exit.err != nil) {
		report.Error = plain(verdict(r.Err))
	}
	return printJSON(a.err, report)
}
