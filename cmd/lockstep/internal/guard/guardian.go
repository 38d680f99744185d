//go:build unix

package guard

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// guardian is the process between the command and the child's group. It is one
// loop over one poll(2): orders are read before children are looked at, and both
// before time is acted on, so that a guardian that was stopped for a while decides
// by the newest it was told.
type guardian struct {
	group

	orders  int // the pipe from the command; -1 after its end
	wake    int // readable when a child changed
	reports *os.File
	in      inbox

	suspend bool
	clockID int32
	window  int64 // on the clock, as all times here: when the child must be gone
	grace   time.Duration
	lead    time.Duration

	argv    []string
	started bool
	orphan  bool // the command is gone
	termAt  int64
	termed  bool  // TERM was sent
	cause   Cause // why
	killAt  int64
}

// Main is the whole life of a guardian; args follow Hidden. It returns the exit
// code, which nobody depends on.
func Main(args []string) int {
	// Pdeathsig: the thread that starts the child must live as long as we do.
	runtime.LockOSThread()
	g, err := newGuardian(args)
	if err != nil {
		fmt.Fprintf(os.Stderr, "lockstep: %v\n", err)
		return 64
	}
	for !g.step() {
	}
	return 0
}

// newGuardian takes over the descriptors, whose numbers are the first argument:
// orders, reports, and those only to be kept. The child must inherit none of them.
func newGuardian(args []string) (*guardian, error) {
	bad := errors.New(Hidden + " is for lockstep's own use: lockstep lock starts it")
	if len(args) < 2 {
		return nil, bad
	}
	var fds []int
	for part := range strings.SplitSeq(args[0], ",") {
		fd, err := strconv.Atoi(part)
		if err != nil || fd < 3 {
			return nil, bad
		}
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, bad
		}
		fds = append(fds, fd)
	}
	if len(fds) < 2 {
		return nil, bad
	}
	adopt()
	rename("lockstep-guard")
	wake, err := heedSignals()
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, err
	}
	return &guardian{
		orders: fds[0], reports: os.NewFile(uintptr(fds[1]), "reports"), wake: wake, argv: args[1:],
	}, nil
}

// heedSignals makes the guardian deaf to everything but KILL and STOP, and lets
// SIGCHLD wake the loop. Signals are caught and dropped rather than ignored, since
// a child would inherit being ignored; those that were ignored when the user
// started us (nohup) stay so, and the child does inherit that.
func heedSignals() (wake int, err error) {
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return 0, err
	}
	for _, fd := range p {
		unix.CloseOnExec(fd)
		if err := unix.SetNonblock(fd, true); err != nil {
			return 0, err
		}
	}
	deaf := []os.Signal{
		unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM,
		unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGPIPE, unix.SIGVTALRM, unix.SIGXCPU, unix.SIGXFSZ,
	}
	dropped := make(chan os.Signal, 1) // never read: signal.Notify drops what does not fit
	for _, s := range deaf {
		if !signal.Ignored(s) {
			signal.Notify(dropped, s)
		}
	}
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	go func() { // ends with the process
		for range children {
			_, _ = unix.Write(p[1], []byte{0}) // full: the loop is awake already
		}
	}()
	return p[0], nil
}

// step is one turn of the loop; true: everything is done.
func (g *guardian) step() (done bool) {
	fds := []unix.PollFd{{Fd: int32(g.wake), Events: unix.POLLIN}, {Fd: int32(g.orders), Events: unix.POLLIN}}
	_, _ = unix.Poll(fds, g.timeout()) // EINTR and the like: just look again
	drain(g.wake)
	g.obey()
	if !g.started {
		return g.orphan // nothing runs: nothing to guard
	}
	g.watch()
	if g.gone() {
		code, sig := g.code()
		g.tell(report{Event: evGone, Code: code, Signal: sig, Cause: g.cause})
		return true
	}
	g.enforce()
	return false
}

// timeout is for poll, in milliseconds: until time has to be acted on.
func (g *guardian) timeout() int {
	if !g.started {
		return -1
	}
	left := time.Duration(g.nextAct() - clock(g.clockID))
	if g.exited || left <= 0 {
		left = pollEvery
	}
	if g.suspend { // poll's own clock stands still while the machine is suspended
		left = min(left, time.Second)
	}
	return int(min(left, time.Hour)/time.Millisecond) + 1
}

// nextAct is when enforce has something to do.
func (g *guardian) nextAct() int64 {
	switch {
	case g.termed: // whatever was agreed, the group is gone before the window closes (S1)
		return min(g.killAt, g.window-int64(g.lead))
	case g.exited:
		return min(g.termAt, g.window-int64(g.grace))
	default:
		return g.window - int64(g.grace)
	}
}

// enforce acts on time, and on the loss of the command.
func (g *guardian) enforce() {
	due := clock(g.clockID) >= g.nextAct()
	switch {
	case g.termed && due:
		g.signal(unix.SIGKILL)
	case g.termed:
	case g.orphan, due:
		// Also without the command the lock stays ours while the window is open,
		// so the group has all of its usual time.
		g.end(WindowClosed, g.grace)
	}
}

// end begins the end of the group: TERM now, KILL after the given time. CONT lets
// one that is stopped see its TERM.
func (g *guardian) end(cause Cause, after time.Duration) {
	at := clock(g.clockID) + int64(after)
	if g.termed {
		g.killAt = min(g.killAt, at)
		return
	}
	if !g.exited { // else the leader did end by itself, and its code stands
		g.cause = cause
	}
	g.termed, g.killAt = true, at
	g.signal(unix.SIGTERM)
	g.signal(unix.SIGCONT)
}

// watch looks at the children. When the leader ended by itself, whoever is left in
// its group gets TERM after a moment to finish (a pipe's last reader has yet to
// see its end): nobody runs without the lock.
func (g *guardian) watch() {
	before := g.exited
	if s := g.observe(); s != 0 {
		g.tell(report{Event: evStopped, Signal: int(s)})
	}
	if g.exited && !before {
		g.termAt = clock(g.clockID) + int64(settle)
	}
}

// obey reads and carries out every order there is.
func (g *guardian) obey() {
	buf := make([]byte, 4096)
	for g.orders >= 0 {
		n, err := unix.Read(g.orders, buf)
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return
		case err != nil || n == 0:
			g.orders, g.orphan = -1, true
			return
		}
		g.in.add(buf[:n])
		for {
			var o order
			ok, err := g.in.next(&o)
			if err != nil { // not our command at the other end
				g.orders, g.orphan = -1, true
				return
			}
			if !ok {
				break
			}
			g.do(o)
		}
	}
}

func (g *guardian) do(o order) {
	switch o.Op {
	case opRun:
		g.suspend, g.clockID = o.Suspend, clockOf(o.Suspend)
		g.window, g.grace, g.lead = o.Window, o.Grace, o.Lead
		g.run()
	case opWindow:
		g.window = o.Window
	case opSignal:
		if g.started {
			g.signal(unix.Signal(o.Signal))
		}
	case opLost:
		if g.started {
			g.end(LockLost, lostGrace)
		}
	}
}

// run starts the child, or says why not; the guardian then ends.
func (g *guardian) run() {
	path, err := lookup(g.argv[0])
	if err == nil {
		err = g.start(path, g.argv)
	}
	if errors.Is(err, unix.ENOEXEC) { // a script without a first line: as execvp does
		err = g.start("/bin/sh", append([]string{"sh", path}, g.argv[1:]...))
	}
	if err != nil {
		g.tell(refusal(g.argv[0], err))
		g.orders, g.orphan = -1, true
		return
	}
	g.started = true
	g.tell(report{Event: evStarted, PID: g.leader})
}

func (g *guardian) start(path string, argv []string) (err error) {
	g.leader, err = syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2}, Sys: childAttr(),
	})
	return err
}

// tell writes to the command. One that is gone shows at the other pipe.
func (g *guardian) tell(r report) { _ = send(g.reports, r) }

func drain(fd int) {
	var buf [64]byte
	for {
		if n, err := unix.Read(fd, buf[:]); n < len(buf) && err != unix.EINTR {
			return
		}
	}
}
