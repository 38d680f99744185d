package lockstep

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// request is what every lock's handle comes down to: a claim yet to be made.
type request struct {
	c      *Client
	name   string
	kind   engine.Kind
	shares int
	limit  int
	opts   lockOptions
	own    string // what the name is of, where the line is Lockstep's own (Client.own)
	err    error  // of the handle's constructor, told at its first use
}

// claim is one request in a line, from before its first message to its end.
type claim struct {
	engine.Claim
	given   string          // the name as the user gave it
	ctx     context.Context // of Lock: its values
	maxHold time.Duration
	cancel  context.CancelCauseFunc // wakes the waiting Acquire

	// Acquires that ended in doubt: they may yet arrive at the engine (S4).
	doubts    int
	withdrawn time.Time // when the first Release after a doubt was answered
}

// how a claim is made.
type how struct {
	op   string
	try  bool
	term time.Duration
}

func (c *Client) newRequest(name string, kind engine.Kind, shares, limit int, opts []LockOption) request {
	r := request{c: c, name: name, kind: kind, shares: shares, limit: limit}
	if c == nil {
		r.err = errZero
		return r
	}
	r.opts, r.err = newLockOptions(opts, c.opts.note)
	return r
}

var errZero = invalidf("a lock that was not made by a Client's method")

// canonical checks the request and gives its name as the engine knows it.
func (r request) canonical() (string, error) {
	switch {
	case r.err != nil:
		return "", r.err
	case r.c == nil:
		return "", errZero
	case r.limit < 1:
		return "", invalidf("a limit of %d; it is at least 1", r.limit)
	case r.limit > engine.Unlimited:
		return "", invalidf("a limit of %d; it is at most %d", r.limit, engine.Unlimited)
	case r.shares < 1:
		return "", invalidf("a weight of %d; it is at least 1", r.shares)
	case r.shares > r.limit:
		return "", invalidf("a weight of %d is over the limit of %d and would never be granted", r.shares, r.limit)
	}
	if r.own != "" {
		return r.c.own(r.own, r.name)
	}
	return r.c.canonical(r.name)
}

// acquire makes the claim and returns its lease.
func (r request) acquire(ctx context.Context, h how) (*Lease, error) {
	canonical, err := r.canonical()
	if err != nil {
		return nil, failed(h.op, r.name, err)
	}
	if ctx.Err() != nil {
		return nil, failed(h.op, r.name, ended(ctx))
	}
	if holds(ctx, r.c, canonical) {
		return nil, failed(h.op, r.name, invalidf("this context already holds it; waiting for it again would never end"))
	}
	l, err := r.wait(ctx, canonical, h)
	return l, failed(h.op, r.name, err)
}

// wait bounds the claim by WithWait and tells of its progress.
func (r request) wait(ctx context.Context, canonical string, h how) (*Lease, error) {
	var asked time.Time
	if r.c.opts.observer.Granted != nil {
		asked = r.c.clock.now()
	}
	r.c.opts.observer.waiting(r.name)
	waiting := ctx
	if r.opts.wait > 0 && !h.try {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, r.opts.wait)
		defer cancel()
	}
	cl := r.newClaim(ctx, canonical, h)
	if r.opts.progress != nil && !h.try {
		stop := r.c.follow(waiting, cl, r.opts.progress)
		defer stop()
	}
	l, err := r.c.claim(waiting, cl)
	switch {
	case err == nil:
		r.c.opts.observer.granted(l, l.since.Sub(asked))
	case waiting.Err() != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded):
		err = r.c.stillHeld(ctx, cl)
	}
	return l, err
}

func (r request) newClaim(ctx context.Context, canonical string, h how) *claim {
	return &claim{
		Claim: engine.Claim{
			ID: engine.ClaimID(rand.Text()), Name: canonical, Kind: r.kind,
			Shares: r.shares, Limit: r.limit, Try: h.try, Term: h.term, Note: r.opts.note,
		},
		given: r.name, ctx: ctx, maxHold: r.opts.maxHold,
	}
}

// stillHeld is the error of a wait that took too long: it asks once more, for
// "held by somebody else" and "could not ask" are never the same error.
func (c *Client) stillHeld(ctx context.Context, cl *claim) error {
	ctx, cancel := context.WithTimeout(ctx, c.opts.ttl/4)
	defer cancel()
	line, err := c.eng.Line(ctx, cl.Name)
	if err != nil {
		return &unavailableError{err}
	}
	line.Name = cl.given
	return &HeldError{Line: line}
}

// claim makes the claim in the session that lives.
func (c *Client) claim(ctx context.Context, cl *claim) (*Lease, error) {
	for {
		s, err := c.current(ctx)
		if err != nil {
			return nil, err
		}
		if s.enter(cl) == nil {
			defer s.calls.Done()
			return s.acquire(ctx, cl)
		}
		// It was lost in between: the next one.
	}
}

// acquire is the one place that asks an engine for a grant. The engine waits;
// what is retried, withdrawn or adopted is decided here.
func (s *session) acquire(ctx context.Context, cl *claim) (*Lease, error) {
	for attempt := 1; ; attempt++ {
		asked := s.c.clock.instant()
		g, woken, err := s.ask(ctx, cl, attempt > 1)
		if err == nil {
			return s.adopt(cl, g, asked)
		}
		if engine.Definite(err) {
			return nil, s.refused(cl, err)
		}
		cl.doubts++
		if over := s.stopped(ctx); over != nil {
			s.leave(cl)
			s.withdraw(cl)
			return nil, over
		}
		if woken {
			continue
		}
		s.c.opts.log.Debug("lockstep: outcome of a claim unknown; asking again", "name", cl.given, "error", err)
		s.sleep(ctx, pause(s.c.opts.ttl, attempt))
	}
}

// ask is one Acquire, which the session can wake: because it is over, or because
// a renewal did not find the claim (woken).
func (s *session) ask(ctx context.Context, cl *claim, again bool) (g engine.Grant, woken bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if over := s.arm(cl, cancel); over != nil {
		return g, false, over
	}
	g, err = s.es.Acquire(ctx, &cl.Claim, again)
	return g, errors.Is(context.Cause(ctx), errLookAgain), err
}

// adopt turns a grant into a lease, or gives it back where it came too late.
func (s *session) adopt(cl *claim, g engine.Grant, asked instant) (*Lease, error) {
	if cl.Term > 0 {
		return s.c.grantedTerm(s, cl, g, asked)
	}
	l, err := s.granted(cl, g, asked)
	if err != nil {
		s.withdraw(cl)
		return nil, whyOver(err)
	}
	return l, nil
}

// refused is for answers that leave no claim behind, or no session.
func (s *session) refused(cl *claim, err error) error {
	s.leave(cl)
	switch {
	case errors.Is(err, engine.ErrSessionEnded):
		lost := fmt.Errorf("%w: %w", ErrLost, err)
		s.lose(lost)
		return lost
	case errors.Is(err, engine.ErrNotFound):
		return fmt.Errorf("%w: the claim was removed from the line", ErrLost)
	case errors.Is(err, engine.ErrUnusable):
		s.withdraw(cl)
		return &unavailableError{err}
	}
	if held, ok := errors.AsType[*HeldError](err); ok {
		held.Line.Name = cl.given
	}
	return err
}

// stopped says why no other attempt is made: the session is over, or the caller
// left.
func (s *session) stopped(ctx context.Context) error {
	s.mu.Lock()
	over := s.over
	s.mu.Unlock()
	if over != nil {
		return whyOver(over)
	}
	if ctx.Err() != nil {
		return ended(ctx)
	}
	return nil
}

// whyOver is what a waiter is told of its session's end. It held nothing, so a
// window that closed unproven means to it that nobody could be asked.
func whyOver(over error) error {
	if errors.Is(over, errWindow) {
		return &unavailableError{errors.New("no answer for a TTL; the place in line is lost")}
	}
	return over
}

// sleep ends early with the session as well.
func (s *session) sleep(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
