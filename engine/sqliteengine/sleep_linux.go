package sqliteengine

import (
	"time"

	"golang.org/x/sys/unix"
)

// nanosleep sleeps for less than a millisecond where it is told to: Go's own
// timers wake an idle process in whole milliseconds.
func nanosleep(d time.Duration) {
	if d >= time.Millisecond {
		time.Sleep(d)
		return
	}
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}
