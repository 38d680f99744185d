package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lockstep-go/lockstep"
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
	holdFlags

	shared    bool
	exclusive bool
	slots     int
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
			return a.hold(cmd.Context(), job)
		},
		ValidArgsFunction: a.completeNames(-1),
	}
	fl := cmd.Flags()
	f.register(cmd, "lock", true)
	fl.BoolVarP(&f.shared, "shared", "s", false, "hold it beside others that are --shared")
	fl.BoolVarP(&f.exclusive, "exclusive", "x", false, "hold alone what others hold --shared")
	fl.IntVar(&f.slots, "slots", 0, "hold one of `N` slots; all users of the name give the same N")
	fl.StringVar(&f.note, "note", "", "what others see of this holder (default: host, process id and command)")
	return cmd
}

func (f *lockFlags) job(cmd *cobra.Command, args []string) (*job, error) {
	names, argv := words(cmd, args)
	j, err := f.holdFlags.job(cmd, "lock", names, argv)
	if err != nil {
		return nil, err
	}
	switch {
	case len(names) == 0:
		return nil, usage("no name: lockstep lock NAME -- COMMAND")
	case len(j.argv) == 0 && len(names) > 1:
		return nil, usage("no command: put -- before it: lockstep lock %s -- %s …", names[0], names[1])
	case len(j.argv) == 0:
		return nil, usage("no command: lockstep lock %s -- COMMAND", names[0])
	}
	if f.note != "" {
		j.note = f.note
	}
	j.take = f.take(names)
	return j, f.kind(cmd.Flags().Changed("slots"))
}

// kind checks that the lock is of one kind.
func (f *lockFlags) kind(hasSlots bool) error {
	n := 0
	for _, given := range []bool{f.shared, f.exclusive, hasSlots} {
		if given {
			n++
		}
	}
	switch {
	case n > 1:
		return usage("--shared, --exclusive and --slots: a lock is one of them")
	case hasSlots && f.slots < 1:
		return usage("--slots %d: at least 1", f.slots)
	}
	return nil
}

// take asks for the locks once.
func (f *lockFlags) take(names []string) takeFunc {
	return func(ctx context.Context, c *lockstep.Client, try bool, opts []lockstep.LockOption) (*held, error) {
		if len(names) == 1 {
			return one(f.one(ctx, c, names[0], try, opts))
		}
		return f.several(ctx, c, names, try, opts)
	}
}

func (f *lockFlags) several(ctx context.Context, c *lockstep.Client, names []string, try bool, opts []lockstep.LockOption) (*held, error) {
	var locks []lockstep.Lockable
	for _, name := range names {
		switch {
		case f.shared:
			locks = append(locks, c.RWMutex(name).Reader())
		case f.exclusive:
			locks = append(locks, c.RWMutex(name).Writer())
		case f.slots > 0:
			locks = append(locks, c.Semaphore(name, f.slots).Shares(1))
		default:
			locks = append(locks, c.Mutex(name))
		}
	}
	m := c.MultiOf(locks...).With(opts...)
	lock := m.Lock
	if try {
		lock = m.TryLock
	}
	ml, err := lock(ctx)
	if err != nil {
		return nil, err
	}
	return &held{ml.Leases(), ml.Context()}, nil
}

func (f *lockFlags) one(ctx context.Context, c *lockstep.Client, name string, try bool, opts []lockstep.LockOption) (*lockstep.Lease, error) {
	switch {
	case f.shared && try:
		return c.RWMutex(name, opts...).TryRLock(ctx)
	case f.shared:
		return c.RWMutex(name, opts...).RLock(ctx)
	case f.exclusive && try:
		return c.RWMutex(name, opts...).TryLock(ctx)
	case f.exclusive:
		return c.RWMutex(name, opts...).Lock(ctx)
	case f.slots > 0 && try:
		return c.Semaphore(name, f.slots, opts...).TryAcquire(ctx, 1)
	case f.slots > 0:
		return c.Semaphore(name, f.slots, opts...).Acquire(ctx, 1)
	case try:
		return c.Mutex(name, opts...).TryLock(ctx)
	default:
		return c.Mutex(name, opts...).Lock(ctx)
	}
}
