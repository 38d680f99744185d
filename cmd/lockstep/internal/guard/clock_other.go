//go:build unix && !linux && !darwin

package guard

import "golang.org/x/sys/unix"

// clockOf is the clock that the command and the guardian share.
func clockOf(bool) int32 { return unix.CLOCK_MONOTONIC }
