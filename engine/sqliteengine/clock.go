package sqliteengine

import "time"

// clock is what this engine knows of time. Deadlines, ages and terms are on the
// monotonic clock that Go's timers run on, and that all processes of this boot
// read alike: a step of the wall clock moves nothing, and a suspended laptop
// prolongs the holder's window and the deadline that others see by the same
// time (CLOCK_BOOTTIME would let a waiter in while the holder still trusts).
type clock interface {
	mono() int64 // nanoseconds since some point of this boot
	wall() time.Time
}

type systemClock struct{}

func (systemClock) mono() int64     { return monotonic() }
func (systemClock) wall() time.Time { return time.Now() }
