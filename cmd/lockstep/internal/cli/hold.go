package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/guard"
)

// What lock, elect and sem have in common: they wait for a claim, run a command
// while they hold it, and give it back. Each says how to make its claim (take).

// holdFlags are the flags of whatever runs a command while it holds something.
type holdFlags struct {
	waitFlags

	try    bool
	script string
}

// register adds the flags; thing is what is held. short says whether -n is --try.
func (f *holdFlags) register(cmd *cobra.Command, thing string, short bool) {
	f.waitFlags.register(cmd)
	try := ""
	if short {
		try = "n"
	}
	cmd.Flags().BoolVarP(&f.try, "try", try, false, fmt.Sprintf("do not wait: exit 75 if the %s is held", thing))
	scriptFlag(cmd, &f.script)
}

func scriptFlag(cmd *cobra.Command, script *string) {
	cmd.Flags().StringVarP(script, "command", "c", "", "run this `string` in /bin/sh (Windows: cmd) in place of COMMAND")
}

// job is what to run while holding what.
type job struct {
	holdFlags

	thing string // that is held, as errors call it
	names []string
	argv  []string // none: it is held until a signal comes
	note  string   // what others see
	take  takeFunc
	say   func(h *held) error // once it is held, where there is no command
}

// words splits what stands before the command from the command.
func words(cmd *cobra.Command, args []string) (before, argv []string) {
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		return args[:dash], args[dash:]
	}
	return args, nil
}

// commandOf is the command in one of the two ways to give it.
func commandOf(cmd *cobra.Command, argv []string, script string) ([]string, error) {
	hasScript := cmd.Flags().Changed("command")
	switch {
	case hasScript && len(argv) > 0:
		return nil, usage("both -c and a command after --")
	case hasScript && runtime.GOOS == "windows":
		return []string{"cmd", "/c", script}, nil
	case hasScript:
		return []string{"/bin/sh", "-c", script}, nil
	}
	return argv, nil
}

// job is these flags' job, so far as all have the same.
func (f *holdFlags) job(cmd *cobra.Command, thing string, names, argv []string) (*job, error) {
	j := &job{holdFlags: *f, thing: thing, names: names}
	var err error
	if j.argv, err = commandOf(cmd, argv, f.script); err != nil {
		return nil, err
	}
	if f.wait.given && f.wait.d == 0 { // as flock(1) has it
		j.try = true
	}
	j.note = defaultNote(j.argv)
	return j, f.check()
}

// defaultNote is what others see of who gave no note.
func defaultNote(argv []string) string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	name := filepath.Base(os.Args[0])
	if len(argv) > 0 {
		name = argv[0]
	}
	return fmt.Sprintf("%s pid %d %.100s", host, os.Getpid(), name)
}

func (a *app) hold(ctx context.Context, j *job) error {
	signals := guard.Signals()
	open := ctx
	if j.wait.given && !j.try {
		var cancel context.CancelFunc
		open, cancel = context.WithTimeout(ctx, j.wait.d)
		defer cancel()
	}
	opening, opened := untilSignal(open, signals)
	var result guard.Result
	err := a.with(opening, func(c *lockstep.Client) error {
		if err := opened(); err != nil {
			return err
		}
		h, err := a.acquire(ctx, c, j, signals)
		if err != nil {
			return err
		}
		if len(j.argv) == 0 {
			return a.keep(ctx, j, h, signals)
		}
		result, err = a.run(ctx, c, j, h, signals)
		return err
	}, j.options()...)
	if signalled := opened(); signalled != nil {
		return signalled
	}
	if result.Interrupted {
		interruptGroup()
	}
	return err
}

// keep holds until a signal comes.
func (a *app) keep(ctx context.Context, j *job, h *held, signals <-chan os.Signal) error {
	if err := j.say(h); err != nil {
		return errors.Join(err, h.release(ctx))
	}
	select {
	case s := <-signals:
		if err := h.release(ctx); err != nil && !errors.Is(err, lockstep.ErrLost) {
			a.warn(fmt.Sprintf("the %s ends with its TTL only: %s", j.thing, plain(err)))
		}
		return interrupted(s)
	case <-h.ctx.Done():
		return &exitError{codeLost, fmt.Errorf("%s lost: %w", j.thing, h.err())}
	}
}

// run runs the child, gives back what is held, and says what became of both.
func (a *app) run(ctx context.Context, c *lockstep.Client, j *job, h *held, signals <-chan os.Signal) (guard.Result, error) {
	result, err := a.guarded(c, h, guard.Child{
		Argv: j.argv, Env: childEnv(os.Environ(), j.names, h.tokens(), a.shownURL()), Signals: signals,
	})
	if err != nil {
		return result, err
	}
	if result.Cause != guard.ByItself {
		return result, lostError(j.thing, h, result.Cause)
	}
	if result.NotStarted != "" {
		return result, errors.Join(&exitError{result.Code, errors.New(result.NotStarted)}, h.release(ctx))
	}
	if err := h.release(ctx); errors.Is(err, lockstep.ErrLost) {
		return result, &exitError{codeLost, fmt.Errorf("the %s was lost before the command ended, with code %d: %w", j.thing, result.Code, err)}
	} else if err != nil {
		a.warn(fmt.Sprintf("the %s ends with its TTL only: %s", j.thing, plain(err)))
	}
	a.note("released %s; the command's code is %d", quoted(j.names), result.Code)
	return result, quitUnlessZero(result.Code)
}

// guarded runs the child so that it cannot outlive what is held; nil: nothing is,
// and then the child cannot outlive this process alone.
func (a *app) guarded(c *lockstep.Client, h *held, child guard.Child) (guard.Result, error) {
	child.TTL, child.Suspend = c.TTL(), c.Info().Suspend
	child.Say = func(text string) { fmt.Fprintf(a.err, "lockstep: %s\n", text) }
	if h == nil {
		farOff := time.Now().Add(10 * 366 * 24 * time.Hour)
		child.Until = func() time.Time { return farOff }
		return guard.Run(child)
	}
	child.Until, child.Lost = h.until, h.ctx.Done()
	live, err := h.leases[0].LivenessFile() // one session, so one for all
	if err == nil {
		child.Keep = []*os.File{live}
	} else if !errors.Is(err, lockstep.ErrUnsupported) {
		return guard.Result{}, err
	}
	result, err := guard.Run(child)
	if live != nil {
		err = errors.Join(err, live.Close())
	}
	return result, err
}

func quitUnlessZero(code int) error {
	if code == 0 {
		return nil
	}
	return quit(code)
}

// lostError says why the child was ended.
func lostError(thing string, h *held, cause guard.Cause) error {
	switch cause {
	case guard.GuardianDied:
		return &exitError{codeLost, fmt.Errorf("the guardian was killed, so the command was ended and the %s given back", thing)}
	case guard.LockLost:
		if err := h.err(); err != nil {
			return &exitError{codeLost, fmt.Errorf("%s lost, the command was ended: %w", thing, err)}
		}
	}
	return &exitError{codeLost, fmt.Errorf("%s lost, the command was ended: it was not renewed in time "+
		"(this process was stopped, or the engine did not answer)", thing)}
}

// interruptGroup passes on the ^C that ended the child to whom it would have ended
// as well, had the child not had the terminal to itself: this process's own group,
// such as the script that it is a line of.
func interruptGroup() {
	interruptSelf()
	time.Sleep(time.Second) // dying is asynchronous; where ^C is ignored, the code says it
}

// interrupted is the code of a command that ended by this signal while it waited.
func interrupted(s os.Signal) error {
	if n, ok := s.(syscall.Signal); ok {
		return quit(128 + int(n))
	}
	return quit(130)
}
