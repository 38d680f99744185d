package lockstep

import (
	"context"
	"errors"
)

// guard is a lease or several at once: what Do runs a function under.
type guard interface {
	Attach(ctx context.Context) (context.Context, context.CancelFunc)
	Err() error
	Release(ctx context.Context) error
}

// do runs f while g is held, and gives g back however f ends, a panic included.
//
// The error is f's; joined with [ErrLost] if the lock was lost while f ran, also
// where f returned nil: then what f did may have happened beside somebody else.
func (c *Client) do(ctx context.Context, g guard, f func(context.Context) error) (err error) {
	c.running.add()
	defer c.running.done()
	inner, free := g.Attach(ctx)
	defer func() {
		free()
		lost := g.Err() // before Release, which ends it as well
		released := g.Release(ctx)
		switch {
		case lost != nil:
			err = errors.Join(err, lost)
		case errors.Is(released, ErrLost):
			err = errors.Join(err, released)
		case released != nil && ctx.Err() == nil:
			c.opts.log.Warn("lockstep: the lock is given back in the background", "error", released)
		}
	}()
	return f(inner)
}
