package lockstep

import (
	"syscall"
	"time"
	"unsafe"
)

const (
	clockMonotonic = 1
	clockBoottime  = 7
)

// suspended is how long this machine has been suspended since its start, or
// negative where the kernel does not tell. BOOTTIME is read first: if this
// thread is held up in between, the answer is too small and is right again at
// the next call, as if the clock had been read a moment earlier.
func suspended() time.Duration {
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
