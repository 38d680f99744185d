package sqliteengine

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// clockUptimeRaw is mach_absolute_time, which Go's timers run on: it stands
// still while the machine sleeps.
const clockUptimeRaw = 8

func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(clockUptimeRaw, &t)
	return t.Nano()
}

func bootID() (string, error) {
	id, err := unix.Sysctl("kern.bootsessionuuid")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	return id, nil
}
