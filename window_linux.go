package lockstep

import (
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"
)

const (
	clockMonotonic = 1
	clockBoottime  = 7
)

// suspended is how long this machine had been suspended at a reading of the clock, or
// has been by now, or negative where the kernel does not tell. A lock and its release
// ask for it four times, and the kernel's answer takes half a microsecond; so it is asked only
// where it may have changed: when the machine goes on, the kernel moves the wall
// clock by what the monotonic one has missed, before any program runs.
func suspended(at time.Time) time.Duration {
	now := skewAt(at)
	if last := lastSuspended.Load(); last != nil && last.skew.near(now) {
		return last.suspended
	}
	s := askSuspended()
	lastSuspended.Store(&suspension{now, s})
	return s
}

// suspension is an answer of the kernel, and the clocks just before it was asked.
type suspension struct {
	skew      skew
	suspended time.Duration
}

var (
	lastSuspended atomic.Pointer[suspension]
	processStart  = time.Now()
)

// skew is how much further than the monotonic clock the wall clock has moved since
// this process started, and when.
type skew struct{ wall, at time.Duration }

func skewAt(now time.Time) skew {
	at := now.Sub(processStart)
	return skew{now.Round(0).Sub(processStart.Round(0)) - at, at}
}

// near says that the machine was not suspended between the two. A second bounds
// what a step of the wall clock, by just what the suspension took, could hide.
func (s skew) near(now skew) bool {
	const slewed = time.Millisecond
	passed, moved := now.at-s.at, now.wall-s.wall
	return passed >= 0 && passed < time.Second && moved > -slewed && moved < slewed
}

// askSuspended reads BOOTTIME first: if this thread is held up in between, the
// answer is too small and is right again at the next call, as if the clock had
// been read a moment earlier.
func askSuspended() time.Duration {
	boot, mono := readClock(clockBoottime), readClock(clockMonotonic)
	if boot < 0 || mono < 0 {
		return -1
	}
	return max(boot-mono, 0)
}

func readClock(id uintptr) time.Duration {
	var ts syscall.Timespec
	//nolint:gosec // G103: the kernel writes ts before the call returns; the syscall package has no clock_gettime.
	if _, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0); errno != 0 {
		return -1
	}
	return time.Duration(ts.Nano())
}
