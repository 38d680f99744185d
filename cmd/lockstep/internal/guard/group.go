//go:build unix

package guard

import (
	"time"

	"golang.org/x/sys/unix"
)

// group is the child's process group, seen by whoever is the parent of its leader:
// the guardian, or the command after it adopted the child.
//
// The group's number is taken as long as its leader is not reaped or a member
// lives. So what is sent after the leader was reaped follows a look, at most
// pollEvery old, that somebody lives: numbers do not come round in that time.
type group struct {
	leader  int
	exited  bool // the leader has ended and was reaped
	status  unix.WaitStatus
	scanned time.Time
}

// observe looks at children that ended or stopped, without waiting. It returns the
// signal that stopped the leader, or 0. Orphans that were adopted are reaped.
func (g *group) observe() (stopped unix.Signal) {
	for {
		var st unix.WaitStatus
		pid, err := unix.Wait4(-1, &st, unix.WNOHANG|unix.WUNTRACED, nil)
		switch {
		case err == unix.EINTR:
		case err == unix.ECHILD: // the leader is not ours: init has it
			g.exited = true
			return stopped
		case err != nil || pid <= 0:
			return stopped
		case pid != g.leader || g.exited:
		case st.Stopped():
			stopped = st.StopSignal()
		default:
			g.exited, g.status = true, st
		}
	}
}

// signal sends s to every process of the group, if there is one left.
func (g *group) signal(s unix.Signal) {
	if !g.exited || unix.Kill(-g.leader, 0) != unix.ESRCH {
		_ = unix.Kill(-g.leader, s) // whoever went in between needs no signal
	}
}

// gone: nobody of the group can run code any more. Kill(0) alone cannot say: a dead
// member whose own parent does not reap it counts for ever.
func (g *group) gone() bool {
	if !g.exited {
		return false
	}
	if unix.Kill(-g.leader, 0) == unix.ESRCH {
		return true
	}
	if time.Since(g.scanned) < scanEvery {
		return false
	}
	g.scanned = time.Now()
	return onlyZombies(g.leader)
}

// code is the leader's end as a shell has it.
func (g *group) code() (code, signal int) {
	if g.status.Signaled() {
		return 128 + int(g.status.Signal()), int(g.status.Signal())
	}
	return g.status.ExitStatus(), 0
}

// settle is what the rest of the group has to end by itself after its leader did.
const settle = 300 * time.Millisecond

// scanEvery limits how often all processes of the machine are looked at.
const scanEvery = 100 * time.Millisecond

// pollEvery is how often to look whether a group without its leader is gone. Linux
// says so by SIGCHLD as well, which makes this the fallback.
const pollEvery = 5 * time.Millisecond
