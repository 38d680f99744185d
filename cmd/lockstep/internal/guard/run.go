//go:build unix

package guard

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/cmd/lockstep/internal/tty"
)

// run is the command's side of one child.
type run struct {
	c        Child
	guardian *os.Process
	orders   *os.File
	reports  chan report // closed at the end of the pipe: the guardian has ended
	child    group       // leader 0: not started yet
	front    *tty.Foreground
	clockID  int32
	window   int64 // as last sent
	lost     bool
	sentINT  bool
	result   Result
}

// Run starts the child under a guardian and returns when nobody of its group is
// left. An error says that there was no guardian, and then no child either.
func Run(c Child) (Result, error) {
	adopt()
	r := &run{c: c, front: tty.NewForeground(), clockID: clockOf(c.Suspend)}
	defer r.front.Close()
	if err := r.start(); err != nil {
		return Result{}, fmt.Errorf("cannot start the guardian: %w", err)
	}
	defer r.orders.Close()
	r.window = onClock(r.clockID, c.Until())
	r.order(order{Op: opRun, Window: r.window, Grace: grace(c.TTL), Lead: lead(c.TTL), Suspend: c.Suspend})
	r.supervise()
	_, _ = r.guardian.Wait()
	r.front.TakeBack(r.result.Signal != 0)
	r.result.Interrupted = r.result.Interrupted && r.result.Signal == int(unix.SIGINT) && !r.sentINT
	return r.result, nil
}

// start starts the guardian. It gets its descriptors under the numbers that they
// have here: those from 3 on may be the user's own, meant for the child.
func (r *run) start() error {
	exe, err := self()
	if err != nil {
		return err
	}
	ordersOut, orders, err := os.Pipe()
	if err != nil {
		return err
	}
	defer ordersOut.Close()
	reports, reportsIn, err := os.Pipe()
	if err != nil {
		_ = orders.Close()
		return err
	}
	defer reportsIn.Close()
	var fds []string
	for _, f := range append([]*os.File{ordersOut, reportsIn}, r.c.Keep...) {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
			_, _ = orders.Close(), reports.Close()
			return err
		}
		fds = append(fds, strconv.Itoa(int(f.Fd())))
	}
	r.guardian, err = os.StartProcess(exe, append([]string{os.Args[0], Hidden, strings.Join(fds, ",")}, r.c.Argv...), &os.ProcAttr{
		Env: r.c.Env, Files: []*os.File{os.Stdin, r.c.stdout(), os.Stderr}, Sys: &syscall.SysProcAttr{Setpgid: true},
	})
	for _, f := range r.c.Keep { // the caller may hold them a little longer
		unix.CloseOnExec(int(f.Fd()))
	}
	if err != nil {
		_, _ = orders.Close(), reports.Close()
		return err
	}
	r.orders, r.reports = orders, make(chan report)
	go receive(reports, r.reports) // ends with the pipe; supervise reads all of it
	return nil
}

func receive(from *os.File, to chan<- report) {
	defer close(to)
	defer from.Close()
	var in inbox
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		in.add(buf[:n])
		for {
			var r report
			if ok, bad := in.next(&r); !ok || bad != nil {
				break
			}
			to <- r
		}
		if err != nil {
			return
		}
	}
}

// supervise passes news between the lock, the terminal, the user and the guardian
// until the group is gone.
func (r *run) supervise() {
	moved := time.NewTicker(min(max(r.c.TTL/10, 20*time.Millisecond), time.Second))
	defer moved.Stop()
	giveUp := time.NewTimer(r.untilGiveUp())
	defer giveUp.Stop()
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT) // the shell's fg: the terminal may be ours now
	defer signal.Stop(continued)
	lost := r.c.Lost
	for {
		select {
		case rep, alive := <-r.reports:
			if !alive {
				r.takeOver(GuardianDied)
				return
			}
			if r.heed(rep) {
				for range r.reports { // its end is the guardian's
				}
				return
			}
		case s := <-r.c.Signals:
			if n, ok := s.(syscall.Signal); ok {
				r.sentINT = r.sentINT || n == unix.SIGINT
				r.order(order{Op: opSignal, Signal: int(n)})
			}
		case <-continued:
			r.lend()
		case <-lost:
			lost, r.lost = nil, true
			r.order(order{Op: opLost})
			giveUp.Reset(2 * lostGrace)
		case <-moved.C:
			r.lookAround(giveUp)
		case <-giveUp.C:
			r.takeOver(WindowClosed)
			return
		}
	}
}

// lookAround does what is done from time to time.
func (r *run) lookAround(giveUp *time.Timer) {
	if r.news() && !r.lost {
		giveUp.Reset(r.untilGiveUp())
	}
	if !r.front.Lent() { // a shell's fg of a job that runs tells nobody
		r.lend()
	}
}

// news tells the guardian of a window that moved.
func (r *run) news() bool {
	w := onClock(r.clockID, r.c.Until())
	// A few microseconds pass between two readings of two clocks.
	if diff := w - r.window; diff < int64(time.Millisecond) && diff > -int64(time.Millisecond) {
		return false
	}
	r.window = w
	r.order(order{Op: opWindow, Window: w})
	return true
}

// untilGiveUp is when a guardian that has not ended the group does not work: KILL
// was due a quarter of a lead before.
func (r *run) untilGiveUp() time.Duration { return time.Until(r.c.Until()) - lead(r.c.TTL)*3/4 }

// heed acts on a report; true: it is the last one.
func (r *run) heed(rep report) (last bool) {
	switch rep.Event {
	case evStarted:
		r.child.leader = rep.PID
		r.lend()
	case evStopped:
		s := unix.Signal(rep.Signal)
		// STOP is somebody's deliberate wish; the others come from the terminal,
		// and lend wakes whom they stopped.
		if s != unix.SIGSTOP && r.lend() && s == unix.SIGTSTP {
			r.c.Say("the command cannot be suspended while it holds a lock")
		}
	case evFailed:
		r.result = Result{Code: rep.Code, NotStarted: rep.Error}
		return true
	case evGone:
		r.result = Result{Code: rep.Code, Signal: rep.Signal, Cause: rep.Cause, Interrupted: r.front.Lent()}
		return true
	}
	return false
}

// lend gives the child the terminal if it is ours to give, and wakes a child that
// asked for it before. It reports whether the child has it.
func (r *run) lend() bool {
	if r.child.leader == 0 || !r.front.Lend(r.child.leader) {
		return false
	}
	r.order(order{Op: opSignal, Signal: int(unix.SIGCONT)})
	return true
}

// order never blocks: a guardian that does not read is not waited for. It tries
// once, and has no deadline: that would pass before the first try where this
// process stands still between the two, and the order be lost without a word.
func (r *run) order(o order) {
	err := send(atOnce{r.orders}, o)
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, os.ErrClosed) && !errors.Is(err, unix.EPIPE) {
		r.c.Say("guardian: " + err.Error())
	}
}

// atOnce writes to a pipe what fits now.
type atOnce struct{ pipe *os.File }

func (w atOnce) Write(p []byte) (n int, err error) {
	conn, err := w.pipe.SyscallConn()
	if err != nil {
		return 0, err
	}
	failed := conn.Write(func(fd uintptr) (done bool) {
		n, err = unix.Write(int(fd), p)
		return true
	})
	return n, errors.Join(failed, err)
}

// takeOver ends the group without the guardian, which is dead, or is killed here
// because it did not answer. The kernel has then made this process the parent of
// the child's leader (group_linux.go), so that its number is safe to signal.
func (r *run) takeOver(cause Cause) {
	if cause != GuardianDied && r.child.leader != 0 {
		// It is late: this does not wait for the guardian's end. What it has not
		// told to be gone it has not reaped, or only just.
		_ = unix.Kill(-r.child.leader, unix.SIGKILL)
	}
	_ = r.guardian.Kill() // a process that has ended is no error that matters
	for rep := range r.reports {
		if r.heed(rep) {
			return
		}
	}
	_, _ = r.guardian.Wait()
	if r.lost {
		cause = LockLost
	}
	r.result = Result{Code: 128 + int(unix.SIGKILL), Signal: int(unix.SIGKILL), Cause: cause}
	if r.child.leader == 0 && !r.findChild() {
		return
	}
	killAt := time.Now().Add(grace(r.c.TTL))
	if cause != GuardianDied {
		killAt = time.Now()
	}
	r.child.signal(unix.SIGTERM)
	r.child.signal(unix.SIGCONT)
	for {
		r.child.observe()
		if r.child.gone() {
			return
		}
		if now := time.Now(); !now.Before(killAt) || now.After(r.c.Until().Add(-lead(r.c.TTL))) || r.isLost() {
			r.child.signal(unix.SIGKILL)
		}
		time.Sleep(pollEvery)
	}
}

// findChild is for a guardian that was killed between starting the child and saying
// so: whom we adopted is the child, and with the guardian gone it is ending.
func (r *run) findChild() bool {
	for {
		pid, err := unix.Wait4(-1, &r.child.status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		r.child.leader, r.child.exited = pid, true
		return err == nil
	}
}

func (r *run) isLost() bool {
	select {
	case <-r.c.Lost:
		return true
	default:
		return false
	}
}
