package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/guard"
	"github.com/lockstep-go/lockstep/engine"
)

// waitFlags are the flags of whatever waits for others.
type waitFlags struct {
	wait     seconds
	conflict int
	ttl      seconds
}

func (f *waitFlags) register(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.VarP(&f.wait, "timeout", "w", "wait no longer than this `duration` such as 30s, 1m30s or 0.5")
	fl.IntVarP(&f.conflict, "conflict-exit-code", "E", codeHeld, "exit `code`, in place of 75, if it was waited for in vain")
	fl.Var(&f.ttl, "ttl", "`duration` after which others go on without a host that is gone (default 10s)")
}

func (f *waitFlags) check() error {
	if f.conflict < 0 || f.conflict > 255 {
		return usage("--conflict-exit-code %d: an exit code is 0 to 255", f.conflict)
	}
	return nil
}

func (f *waitFlags) options() []lockstep.Option {
	if !f.ttl.given {
		return nil
	}
	return []lockstep.Option{lockstep.WithTTL(f.ttl.d)}
}

// wait is a wait for others. A signal ends it, and --timeout.
type wait struct {
	context.Context

	signals <-chan os.Signal
	listen  func() error // ends the listening: untilSignal
	timer   *time.Timer  // nil: no timeout
}

func (f *waitFlags) begin(ctx context.Context) (w *wait, cancel context.CancelFunc) {
	w = &wait{signals: guard.Signals()}
	ctx, w.listen = untilSignal(ctx, w.signals)
	w.Context = ctx
	if !f.wait.given {
		return w, func() {}
	}
	ctx, end := context.WithCancelCause(ctx)
	w.Context, w.timer = ctx, time.AfterFunc(f.wait.d, func() { end(errOverdue) })
	return w, func() { end(nil) }
}

// errOverdue: --timeout has passed.
var errOverdue = context.DeadlineExceeded

func (w *wait) overdue() bool { return errors.Is(context.Cause(w), errOverdue) }

// over is for whoever has got what was waited for and goes on with it: time counts
// no more, and signals are for others to read. An error says that the wait ended
// before.
func (w *wait) over() error {
	if w.timer != nil {
		w.timer.Stop()
	}
	if end := w.listen(); end != nil {
		return end
	}
	return context.Cause(w)
}

// await runs what waits for others, until it has what it waits for or the wait
// ends. vain is said of a wait in vain, with its code; that is only where the engine
// answers for the name.
func (a *app) await(ctx context.Context, f *waitFlags, name, vain string, run func(*wait, *lockstep.Client) error) error {
	if err := f.check(); err != nil {
		return err
	}
	if f.wait.given && f.wait.d == 0 {
		return usage("--timeout 0 leaves no time to ask: give some, such as 5s")
	}
	w, cancel := f.begin(ctx)
	defer cancel()
	err := a.with(w, func(c *lockstep.Client) error {
		err := run(w, c)
		if err != nil && w.overdue() && answers(ctx, c, name, c.TTL()/4) {
			return &exitError{f.conflict, fmt.Errorf("%q: %s", name, vain)}
		}
		return err
	}, f.options()...)
	switch end := w.listen(); {
	case end != nil:
		return end
	case err != nil && w.overdue() && codeOf(err) == codeUnavailable:
		return &exitError{codeUnavailable, errors.New("no answer from the engine within --timeout")}
	}
	return err
}

// inLine runs what waits in a line, and again where the place in it was lost: this
// process was suspended (^Z, a laptop's lid), and still wants what it waits for.
func (a *app) inLine(ctx context.Context, c *lockstep.Client, name string, wait func() error) error {
	for {
		start := time.Now()
		err := wait()
		if err == nil || ctx.Err() != nil || !lostPlace(ctx, c, name, err, time.Since(start)) {
			return err
		}
		a.note("the place in line was lost; waiting again")
	}
}

// lostPlace tells a waiter that was suspended from an engine that is gone: both had
// no answer for a TTL, but now the engine answers.
func lostPlace(ctx context.Context, c *lockstep.Client, name string, err error, waited time.Duration) bool {
	if errors.Is(err, lockstep.ErrLost) {
		return true
	}
	if !errors.Is(err, lockstep.ErrUnavailable) || errors.Is(err, engine.ErrUnusable) || waited < c.TTL()/2 {
		return false
	}
	return answers(ctx, c, name, c.TTL())
}

// answers tells a wait that took too long from an engine that is gone.
func answers(ctx context.Context, c *lockstep.Client, name string, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	_, err := c.Line(ctx, name)
	return err == nil
}

// untilSignal is ctx until a signal comes. stop ends the listening and returns the
// end that a signal asked for. An engine that does not answer must not swallow TERM.
func untilSignal(ctx context.Context, signals <-chan os.Signal) (_ context.Context, stop func() error) {
	ctx, cancel := context.WithCancel(ctx)
	stopped := make(chan struct{})
	var task sync.WaitGroup
	var end error
	task.Go(func() {
		select {
		case s := <-signals:
			end = interrupted(s)
			cancel()
		case <-stopped:
		}
	})
	return ctx, sync.OnceValue(func() error {
		close(stopped)
		task.Wait()
		return end
	})
}
