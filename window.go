package lockstep

import "time"

// The trust window (S1): for how long after a proof was sent this process may
// believe in what it holds. It runs on a monotonic clock that a step of the
// wall clock does not move. Where the engine's clock goes on while this machine
// is suspended, so does ours: suspended time is added to Go's monotonic clock,
// which leaves it out.

// margin is what the window is shorter than the TTL: two clocks may differ in
// rate by 1 %, and a timer may fire some milliseconds late.
func margin(ttl time.Duration) time.Duration { return ttl/100 + 25*time.Millisecond }

// clock is the core's clock. Its times are compared with each other only.
type clock struct {
	wall func() time.Time // with its monotonic reading
	// suspend is how long the machine had been suspended at a reading of wall, or
	// since; nil: it does not count.
	suspend func(at time.Time) time.Duration
}

func newClock(countSuspend bool) clock {
	k := clock{wall: time.Now}
	if countSuspend && suspended(time.Now()) >= 0 {
		k.suspend = suspended
	}
	return k
}

func (k clock) now() time.Time {
	return k.instant().ours
}

// foreign turns a time that an engine took, on Go's clock, into this clock's.
// before is this clock's and Go's reading at a moment before the engine took
// it: time suspended since then must not be added, or the window would grow.
func (k clock) foreign(t time.Time, before instant) time.Time {
	return t.Add(before.ours.Sub(before.raw))
}

// instant is one moment on both clocks.
type instant struct{ ours, raw time.Time }

func (k clock) instant() instant {
	raw := k.wall()
	if k.suspend == nil {
		return instant{raw, raw}
	}
	// Where the suspended time is read later than the wall clock, a suspension in
	// between makes the reading late by it, and a late reading closes windows.
	return instant{raw.Add(k.suspend(raw)), raw}
}
