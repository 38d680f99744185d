package lockstep

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Lease is what a holder has: one granted claim, until it is released or lost.
// It is safe for concurrent use. It has no goroutine and no timer of its own
// (one of a fixed term has a timer); its session's upkeep serves all leases.
type Lease struct {
	s     *session
	claim *claim
	token Token
	since time.Time // of the grant

	mu      sync.Mutex
	until   time.Time // end of the trust window, the margin taken off
	maxHold time.Time // zero: none
	err     error     // why it ended; nil while it is held. Set once.

	ctx    context.Context // of everything this lease ends; nil until asked for
	cancel context.CancelCauseFunc
	multi  *MultiLease // whose part it is; set before anybody else sees it
	term   *time.Timer // of a fixed term
}

// Name is the name as the lock's constructor was given it.
func (l *Lease) Name() string { return l.claim.given }

// ID is the claim's own, as others see it in the line.
func (l *Lease) ID() ClaimID { return l.claim.ID }

// Token is greater for every later grant on the name (S2): pass it to whatever
// is written under the lock.
func (l *Lease) Token() Token { return l.token }

// Until is when trust in this lease ends unless it is renewed before. It moves
// with every renewal. Once it has passed, [Lease.Err] is not nil.
func (l *Lease) Until() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k := l.s.c.clock; k.suspend != nil { // as seen on Go's clock, which callers use
		return l.ends().Add(-k.suspend(time.Now()))
	}
	return l.ends()
}

// Err is nil while the lease may be trusted. It looks at the clock, so it is
// right also where this process was stopped and no timer has fired yet.
// Otherwise it wraps [ErrLost] or [ErrReleased], and never changes again.
func (l *Lease) Err() error {
	if l.expire(l.s.c.clock.now()) {
		l.s.poke() // upkeep tells the observer and withdraws it
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.err
}

// Release gives the lease back. A lease that was lost returns its [ErrLost];
// releasing twice is no error. With a context that is done, or ends while the
// engine does not answer, it still gives back, in the background and bounded by
// the session's TTL, and returns the context's error.
func (l *Lease) Release(ctx context.Context) error {
	if err := l.Err(); errors.Is(err, ErrLost) || l.claim.Term > 0 && errors.Is(err, ErrClosed) {
		return failed("release", l.Name(), err)
	}
	if !l.end(ErrReleased) {
		return nil
	}
	l.s.c.opts.observer.released(l)
	if l.claim.Term > 0 {
		return failed("release", l.Name(), l.releaseTerm(ctx))
	}
	l.s.forget(l)
	return failed("release", l.Name(), l.s.release(ctx, l.claim))
}

// setNote replaces what others see of the claim, and ends the lease as lost where
// it finds that the engine no longer has it.
func (l *Lease) setNote(ctx context.Context, note []byte) error {
	if err := l.Err(); err != nil {
		return err
	}
	inner, free := l.Attach(ctx)
	defer free()
	err := l.s.c.ask(inner, func(ctx context.Context) error { return l.s.es.SetNote(ctx, &l.claim.Claim, note) })
	switch over := l.Err(); {
	case err == nil:
		return nil
	case over != nil:
		return over
	case errors.Is(err, ErrNotFound):
		l.end(errTaken)
		l.s.poke() // upkeep tells the observer
		return l.Err()
	}
	return err
}

// LivenessFile is a descriptor that keeps the lease's session from ending with
// this process, for a child that ends the work after this process was killed.
// The session's TTL goes on as before. The caller closes it. [ErrUnsupported]
// where the engine's sessions are not bound to a file.
func (l *Lease) LivenessFile() (*os.File, error) {
	live, ok := l.s.es.(engine.Liveness)
	if !ok {
		return nil, failed("liveness file of", l.Name(), fmt.Errorf("%w: no session file", ErrUnsupported))
	}
	f, err := live.LivenessFile()
	return f, failed("liveness file of", l.Name(), err)
}

// ends is when the lease ends if nothing happens. l.mu is held.
func (l *Lease) ends() time.Time {
	if !l.maxHold.IsZero() && l.maxHold.Before(l.until) {
		return l.maxHold
	}
	return l.until
}

// prolong moves the window of a lease that is still trusted. One whose window
// closed before the renewal's reply stays closed.
func (l *Lease) prolong(until, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err == nil && now.Before(l.until) {
		l.until = until
	}
}

// expire ends the lease if its time is over, and says whether it has ended.
func (l *Lease) expire(now time.Time) bool {
	l.mu.Lock()
	ended, over := l.err != nil, !now.Before(l.ends())
	held := !l.maxHold.IsZero() && !now.Before(l.maxHold)
	l.mu.Unlock()
	switch {
	case ended:
		return true
	case !over:
		return false
	case l.claim.Term > 0:
		l.end(fmt.Errorf("%w: the fixed term of %v is over", ErrLost, l.claim.Term))
	case held:
		l.end(fmt.Errorf("%w: held longer than its MaxHold of %v", ErrLost, l.claim.maxHold))
	default:
		l.end(errWindow)
	}
	return true
}

// end ends the lease once, and everything that was attached to it before it
// returns: loss goes from parent to child directly.
func (l *Lease) end(why error) (first bool) {
	l.mu.Lock()
	if l.err != nil {
		l.mu.Unlock()
		return false
	}
	l.err = why
	cancel, multi := l.cancel, l.multi
	l.mu.Unlock()
	if cancel != nil {
		cancel(why)
	}
	if multi != nil {
		multi.end(why)
	}
	if l.term != nil {
		l.term.Stop()
	}
	return true
}

// why is err, or the lease's end where that has cut a call of this package's short:
// only the caller's own context may look like it.
func (l *Lease) why(ctx context.Context, err error) error {
	if over := l.Err(); err != nil && over != nil && ctx.Err() == nil {
		return over
	}
	return err
}

// base is the context that ends with the lease, without any values. It is made
// when first asked for: 10,000 leases that nobody asks cost nothing here.
func (l *Lease) base() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx == nil {
		l.ctx, l.cancel = context.WithCancelCause(context.Background())
		if l.err != nil {
			l.cancel(l.err)
		}
	}
	return l.ctx
}

// Context ends when the lease does; context.Cause says whether it was lost or
// released. It has the values of Lock's context but not its end, for people
// cancel what bounded their waiting.
func (l *Lease) Context() context.Context {
	return &leaseContext{Context: l.base(), link: &link{lease: l, outer: l.claim.ctx}, values: l.claim.ctx}
}

// Attach is a context with the values and the deadline of ctx that ends with
// either, ctx or the lease. Call the function to free it.
func (l *Lease) Attach(ctx context.Context) (context.Context, context.CancelFunc) {
	return attach(ctx, l.base(), &link{lease: l, outer: ctx})
}
