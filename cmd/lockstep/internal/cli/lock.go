package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/guard"
)

const lockHelp = `Runs the command while holding the lock NAME, and exits with the command's code.
Several names are taken all or none.

The command gets standard input, output and error, a process group of its own, and
the terminal's foreground. It never runs without the lock: when the lock is lost,
or this process is killed or frozen, the whole group is ended (TERM, then KILL)
before anybody else can have the lock. When the command ends, whoever is left of
its group has a moment to end too, and is then ended the same way. TERM, INT, HUP,
QUIT, USR1 and USR2 are passed on to the group.

Its environment: LOCKSTEP_NAME, LOCKSTEP_TOKEN (greater for every later holder: hand
it to whatever is written, which should refuse a smaller one than it has seen) and
LOCKSTEP_URL. Several names and tokens come one a line, in the order given.

A name has one kind: exclusive as it is (a mutex), --shared with --exclusive (a
read-write lock), or --slots N (a semaphore).

Exit codes: the command's own, or 128 + the signal that ended it
  64  bad flags, names or URLs          126  the command cannot be executed
  69  the engine cannot be used         127  there is no such command
  70  lock lost, the command was ended
  75  not acquired (--try, --timeout); --conflict-exit-code gives another`

// lockFlags are the flags of `lock`.
type lockFlags struct {
	try       bool
	wait      seconds
	conflict  int
	shared    bool
	exclusive bool
	slots     int
	ttl       seconds
	script    string
	note      string
}

func (a *app) lockCommand() *cobra.Command {
	var f lockFlags
	cmd := &cobra.Command{
		Use:   "lock NAME... -- COMMAND [ARG...]",
		Short: "Run a command while holding a lock",
		Long:  lockHelp,
		Example: `  lockstep lock nightly -- ./report.sh --full
  lockstep lock -n nightly -c 'make report | mail ops'
  lockstep lock --timeout 30 --slots 4 builds -- make`,
		RunE: func(cmd *cobra.Command, args []string) error {
			job, err := f.job(cmd, args)
			if err != nil {
				return err
			}
			return a.lock(cmd.Context(), job)
		},
		ValidArgsFunction: a.completeNames(-1),
	}
	fl := cmd.Flags()
	fl.BoolVarP(&f.try, "try", "n", false, "do not wait: exit 75 if the lock is held")
	fl.VarP(&f.wait, "timeout", "w", "wait no longer than this `duration` such as 30s, 1m30s or 0.5")
	fl.IntVarP(&f.conflict, "conflict-exit-code", "E", codeHeld, "exit `code` if the lock was not acquired")
	fl.BoolVarP(&f.shared, "shared", "s", false, "hold it beside others that are --shared")
	fl.BoolVarP(&f.exclusive, "exclusive", "x", false, "hold alone what others hold --shared")
	fl.IntVar(&f.slots, "slots", 0, "hold one of `N` slots; all users of the name give the same N")
	fl.Var(&f.ttl, "ttl", "`duration` after which others take the lock of a host that is gone (default 10s)")
	fl.StringVarP(&f.script, "command", "c", "", "run this `string` in /bin/sh (Windows: cmd) in place of COMMAND")
	fl.StringVar(&f.note, "note", "", "what others see of this holder (default: host, process id and command)")
	return cmd
}

// job is what to run under which locks.
type job struct {
	lockFlags

	names []string
	argv  []string
}

func (f *lockFlags) job(cmd *cobra.Command, args []string) (*job, error) {
	j := &job{lockFlags: *f, names: args}
	if dash := cmd.ArgsLenAtDash(); dash >= 0 {
		j.names, j.argv = args[:dash], args[dash:]
	}
	if err := j.command(cmd.Flags().Changed("command")); err != nil {
		return nil, err
	}
	if err := j.kind(cmd.Flags().Changed("slots")); err != nil {
		return nil, err
	}
	if f.conflict < 0 || f.conflict > 255 {
		return nil, usage("--conflict-exit-code %d: an exit code is 0 to 255", f.conflict)
	}
	if f.wait.given && f.wait.d == 0 { // as flock(1) has it
		j.try = true
	}
	if j.note == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "unknown host"
		}
		j.note = fmt.Sprintf("%s pid %d %.100s", host, os.Getpid(), j.argv[0])
	}
	return j, nil
}

// command checks that there is one, in one of the two ways to give it.
func (j *job) command(hasScript bool) error {
	switch {
	case len(j.names) == 0:
		return usage("no name: lockstep lock NAME -- COMMAND")
	case hasScript && len(j.argv) > 0:
		return usage("both -c and a command after --")
	case hasScript:
		j.argv = []string{"/bin/sh", "-c", j.script}
		if runtime.GOOS == "windows" {
			j.argv = []string{"cmd", "/c", j.script}
		}
	case len(j.argv) == 0 && len(j.names) > 1:
		return usage("no command: put -- before it: lockstep lock %s -- %s …", j.names[0], j.names[1])
	case len(j.argv) == 0:
		return usage("no command: lockstep lock %s -- COMMAND", j.names[0])
	}
	return nil
}

// kind checks that the lock is of one kind.
func (j *job) kind(hasSlots bool) error {
	n := 0
	for _, given := range []bool{j.shared, j.exclusive, hasSlots} {
		if given {
			n++
		}
	}
	switch {
	case n > 1:
		return usage("--shared, --exclusive and --slots: a lock is one of them")
	case hasSlots && j.slots < 1:
		return usage("--slots %d: at least 1", j.slots)
	}
	return nil
}

func (a *app) lock(ctx context.Context, j *job) error {
	signals := guard.Signals()
	var opts []lockstep.Option
	if j.ttl.given {
		opts = append(opts, lockstep.WithTTL(j.ttl.d))
	}
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
		result, err = a.run(ctx, c, j, h, signals)
		return err
	}, opts...)
	if signalled := opened(); signalled != nil {
		return signalled
	}
	if result.Interrupted {
		interruptGroup()
	}
	return err
}

// untilSignal is ctx until a signal comes, or stop is called, which returns the end
// that the signal asks for. An engine that does not answer must not swallow TERM.
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
		cancel()
		return end
	})
}

// run runs the child, gives the lock back, and says what became of both.
func (a *app) run(ctx context.Context, c *lockstep.Client, j *job, h *held, signals <-chan os.Signal) (guard.Result, error) {
	child := guard.Child{
		Argv: j.argv, Env: childEnv(os.Environ(), j.names, h.tokens(), a.shownURL()),
		TTL: c.TTL(), Suspend: c.Info().Suspend,
		Until: h.until, Lost: h.ctx.Done(), Signals: signals,
		Say: func(text string) { fmt.Fprintf(a.err, "lockstep: %s\n", text) },
	}
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
	if err != nil {
		return result, err
	}
	if result.Cause != guard.ByItself {
		return result, lostError(h, result.Cause)
	}
	if result.NotStarted != "" {
		return result, errors.Join(&exitError{result.Code, errors.New(result.NotStarted)}, h.release(ctx))
	}
	if err := h.release(ctx); errors.Is(err, lockstep.ErrLost) {
		return result, &exitError{codeLost, fmt.Errorf("the lock was lost before the command ended, with code %d: %w", result.Code, err)}
	} else if err != nil {
		a.warn("the lock ends with its TTL only: " + plain(err))
	}
	a.note("released %s; the command's code is %d", quoted(j.names), result.Code)
	return result, quitUnlessZero(result.Code)
}

func quitUnlessZero(code int) error {
	if code == 0 {
		return nil
	}
	return quit(code)
}

// lostError says why the child was ended.
func lostError(h *held, cause guard.Cause) error {
	switch cause {
	case guard.GuardianDied:
		return &exitError{codeLost, errors.New("the guardian was killed, so the command was ended and the lock given back")}
	case guard.LockLost:
		if err := h.err(); err != nil {
			return &exitError{codeLost, fmt.Errorf("lock lost, the command was ended: %w", err)}
		}
	}
	return &exitError{codeLost, errors.New("lock lost, the command was ended: the lock was not renewed in time " +
		"(this process was stopped, or the engine did not answer)")}
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
