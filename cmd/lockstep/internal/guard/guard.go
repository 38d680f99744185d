package guard

import (
	"os"
	"time"
)

// Hidden is the first argument that makes this executable a guardian. main looks
// for it before anything else.
const Hidden = "__guardian"

// Cause is why a child was ended that did not end by itself.
type Cause string

// The causes.
const (
	ByItself     Cause = ""
	WindowClosed Cause = "window"   // the trust window came to its end without a renewal
	LockLost     Cause = "lost"     // the lock was taken away
	GuardianDied Cause = "guardian" // the guardian was killed, or did not answer
)

// Child is a command to run and what it may count on.
type Child struct {
	Argv []string
	Env  []string
	// Stdout is the child's standard output; nil: this process's own.
	Stdout *os.File

	// Keep are the session's liveness descriptors: the guardian holds them until
	// the group is gone. The caller closes its own.
	Keep []*os.File

	// TTL is the session's; the times from TERM to KILL follow from it.
	TTL time.Duration
	// Suspend: the window also counts the time this machine is suspended.
	Suspend bool
	// Until is the end of the trust window. It is asked again and again, and moves.
	Until func() time.Time
	// Lost is closed when the lock is known to be lost.
	Lost <-chan struct{}
	// Signals are passed on to the child's group.
	Signals <-chan os.Signal
	// Say tells the user something while the child runs.
	Say func(string)
}

func (c Child) stdout() *os.File {
	if c.Stdout == nil {
		return os.Stdout
	}
	return c.Stdout
}

// Result is how the child ended.
type Result struct {
	// Code is what a shell would make of it: the exit code, 128 + the signal, 127
	// where there is no such command and 126 where it cannot be executed.
	Code   int
	Signal int // what ended it; 0: an exit code
	Cause  Cause
	// NotStarted says why there never was a child; Code is then 126 or 127.
	NotStarted string
	// Interrupted: ^C at the terminal ended it. The caller's own group, which
	// lent its place in front, has yet to see that.
	Interrupted bool
}

// grace is how long the group has from TERM, where the window's end is what ends it;
// KILL comes a lead before that.
func grace(ttl time.Duration) time.Duration { return max(ttl/4, 150*time.Millisecond) }

// lead is how long before the end of the window KILL is sent: what the kernel may
// take to end every process of the group, on a busy machine.
func lead(ttl time.Duration) time.Duration { return max(ttl/20, 100*time.Millisecond) }

// lostGrace is what the group has from TERM to KILL when the lock may already be
// somebody else's.
const lostGrace = 250 * time.Millisecond
