//go:build !linux

package sqliteengine

import "time"

func nanosleep(d time.Duration) { time.Sleep(d) }
