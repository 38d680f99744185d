package lockstep

import (
	"context"
	"math"
)

// Counter is a number that everyone adds to. An addition is made once, however
// often its request has to be sent (S4). It begins at 0, and stays until it is
// deleted. A Counter is a stateless handle.
//
// Errors are those of [Map]. [ErrUnavailable] of an addition says whether its
// outcome is known; where it is not, [Counter.AddAs] can be asked again.
type Counter struct{ r record[counterState] }

type counterState struct {
	N int64 `json:"n"`
}

// Counter is the counter with this name. A bad name is an error of its first use.
func (c *Client) Counter(name string) *Counter {
	return &Counter{newRecord[counterState](c, "counter", name, 0)}
}

// Add adds delta, which may be negative, and returns the sum. A sum that an int64
// cannot hold is [ErrInvalid], and nothing changes.
func (c *Counter) Add(ctx context.Context, delta int64) (int64, error) { return c.add(ctx, "", delta) }

// AddAs is Add for whoever may have to ask again, after an error or a crash: within
// an hour all additions to the counter with the same id, up to 64 bytes, are one.
func (c *Counter) AddAs(ctx context.Context, id string, delta int64) error {
	_, err := c.add(ctx, id, delta)
	return err
}

func (c *Counter) add(ctx context.Context, id string, delta int64) (int64, error) {
	s, err := c.r.update(ctx, id, func(_ context.Context, s *seen[counterState]) (bool, error) {
		n := s.state.N
		if delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
			return false, invalidf("%d and %d are more than a counter holds", n, delta)
		}
		s.state.N += delta
		return true, nil
	})
	return s.state.N, failed("add to counter", c.r.m.name, err)
}

// Get is the sum of all additions so far.
func (c *Counter) Get(ctx context.Context) (int64, error) {
	s, err := c.r.load(ctx)
	return s.state.N, failed("get counter", c.r.m.name, err)
}

// Delete removes the counter; it then begins at 0 again.
func (c *Counter) Delete(ctx context.Context) error {
	return failed("delete counter", c.r.m.name, c.r.remove(ctx))
}
