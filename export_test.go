package lockstep

import "time"

// SetClock replaces what the client takes for the wall clock (with its
// monotonic reading), before it is used.
func SetClock(c *Client, now func() time.Time) { c.clock.wall = now }

// SetSuspended has the client count suspended time as on a remote engine.
func SetSuspended(c *Client, suspended func() time.Duration) {
	c.clock.suspend = func(time.Time) time.Duration { return suspended() }
}

// Margin is what a trust window is shorter than its TTL.
func Margin(ttl time.Duration) time.Duration { return margin(ttl) }
