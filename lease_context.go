package lockstep

import (
	"context"
	"errors"
	"time"
)

// leaseContext ends with a lease and has the values of another context. The
// embedded context has no values but the standard library's own, which it asks
// its parents for: so it is asked first, and a loss goes straight from a lease
// to every context derived from it, with no goroutine in between.
type leaseContext struct {
	context.Context
	link     *link
	values   context.Context
	deadline time.Time
}

func (c *leaseContext) Deadline() (time.Time, bool) { return c.deadline, !c.deadline.IsZero() }

func (c *leaseContext) Value(key any) any {
	if _, mine := key.(linkKey); mine {
		return c.link
	}
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}

// attach makes a context of ctx that ends with base as well.
func attach(ctx, base context.Context, in *link) (context.Context, context.CancelFunc) {
	lc := &leaseContext{Context: base, link: in, values: ctx}
	bounded, free := context.Context(lc), context.CancelFunc(func() {})
	if d, ok := ctx.Deadline(); ok {
		lc.deadline = d
		bounded, free = context.WithDeadline(lc, d)
	}
	out, cancel := context.WithCancelCause(bounded)
	stop := context.AfterFunc(ctx, func() {
		// A deadline ends out by itself, as a deadline; cancelled from here it
		// would look like somebody's decision.
		if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cancel(context.Cause(ctx))
		}
	})
	return out, func() {
		stop()
		cancel(context.Canceled)
		free()
	}
}

// link is one step of the chain of leases that a context was derived from, the
// innermost first.
type link struct {
	lease *Lease      // or
	multi *MultiLease // several at once
	outer context.Context
}

type linkKey struct{}

func linkOf(ctx context.Context) *link {
	l, _ := ctx.Value(linkKey{}).(*link)
	return l
}

// TokenFrom is the token of the innermost lease that ctx was derived from, 0 if
// there is none. Under a [Multi] there is no one token: ask [MultiLeaseFrom].
func TokenFrom(ctx context.Context) Token {
	if l := LeaseFrom(ctx); l != nil {
		return l.Token()
	}
	return 0
}

// LeaseFrom is the innermost lease that ctx was derived from, or nil.
func LeaseFrom(ctx context.Context) *Lease {
	if in := linkOf(ctx); in != nil {
		return in.lease
	}
	return nil
}

// MultiLeaseFrom is the [MultiLease] that ctx was derived from, if that is what
// it was derived from last, or nil.
func MultiLeaseFrom(ctx context.Context) *MultiLease {
	if in := linkOf(ctx); in != nil {
		return in.multi
	}
	return nil
}

// holds says whether ctx was derived from a lease on the name that this client
// still holds: waiting for it again would be a deadlock.
func holds(ctx context.Context, c *Client, canonical string) bool {
	for in := linkOf(ctx); in != nil; in = linkOf(in.outer) {
		leases := []*Lease{in.lease}
		if in.multi != nil {
			leases = in.multi.leases
		}
		for _, l := range leases {
			if l.s.c == c && l.claim.Name == canonical && l.Err() == nil {
				return true
			}
		}
	}
	return false
}
