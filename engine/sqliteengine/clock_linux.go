package sqliteengine

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func monotonic() int64 {
	var t unix.Timespec
	// Cannot fail: the clock is known to every kernel that Go runs on.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// bootID names the span within which monotonic times compare: this boot, in
// this time namespace (a container can have one with an offset of its own).
func bootID() (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read the boot id: %w", err)
	}
	// Kernels before 5.6 have no time namespaces, and no such link.
	space, _ := os.Readlink("/proc/self/ns/time")
	return strings.TrimSpace(string(boot)) + " " + space, nil
}
