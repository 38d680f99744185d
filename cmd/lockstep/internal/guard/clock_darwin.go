package guard

import "golang.org/x/sys/unix"

// clockOf is the clock that the command and the guardian share: Go's own, which
// stands still while the machine sleeps, or the one that runs on.
func clockOf(suspend bool) int32 {
	if suspend {
		return unix.CLOCK_MONOTONIC
	}
	return unix.CLOCK_UPTIME_RAW
}
