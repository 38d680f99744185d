package guard

import "golang.org/x/sys/unix"

// clockOf is the clock that the command and the guardian share: Go's own, whose
// zero is the machine's boot, or the one that runs on while it is suspended.
func clockOf(suspend bool) int32 {
	if suspend {
		return unix.CLOCK_BOOTTIME
	}
	return unix.CLOCK_MONOTONIC
}
