//go:build unix

package guard

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock reads the shared clock in nanoseconds. It never fails for the clocks that
// clockOf names; 0 would be long ago, so that a failure ends the child.
func clock(id int32) int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(id, &ts); err != nil {
		return 0
	}
	return ts.Nano()
}

// onClock is t on the shared clock. The clock is read first: whatever time passes
// in between makes the answer earlier, which is the safe side (S1).
func onClock(id int32, t time.Time) int64 {
	now := clock(id)
	return now + int64(time.Until(t))
}
