package lockstep

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// session is one engine session and what is claimed through it. It has three
// states, and moves through them once:
//
//	begun ──▶ over, lost    the engine let go of it, or its window closed
//	      └─▶ over, closed  Client.Close
//
// Upkeep (upkeep.go) renews it and closes windows. Its lock is never held
// across a call to the engine, the observer or a cancel function of the user's.
// Lock order: session.mu, then Lease.mu.
type session struct {
	c   *Client
	es  engine.Session
	ttl time.Duration

	ctx    context.Context // ends when the session is over
	cancel context.CancelCauseFunc
	wake   chan struct{} // upkeep looks at the clock again

	calls sync.WaitGroup // Acquires under way
	done  chan struct{}  // upkeep has returned

	mu       sync.Mutex
	asked    []instant // Begin and the newest renewals, when they were asked
	window   time.Time // until when the session is proven, the margin taken off
	leases   map[engine.ClaimID]*Lease
	waiting  map[engine.ClaimID]*claim
	earliest time.Time // no lease ends before; upkeep's next look
	renewAt  time.Time // upkeep's next renewal
	pushed   error     // the engine has told of the session's end
	over     error     // why; nil while it lives
}

func newSession(c *Client) *session {
	s := &session{
		c: c, wake: make(chan struct{}, 1), done: make(chan struct{}),
		leases: map[engine.ClaimID]*Lease{}, waiting: map[engine.ClaimID]*claim{},
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// start makes the session live; begun is when Begin was called. The engine may
// have told of a loss before.
func (s *session) start(es engine.Session, begun instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.es, s.ttl = es, es.TTL()
	s.asked = []instant{begun}
	s.window = begun.ours.Add(s.ttl - margin(s.ttl))
	s.earliest = s.window
	s.renewAt = begun.ours.Add(s.ttl / 3)
}

// alive says whether a claim may still be made. A window that closed while this
// process was stopped ends the session here, before upkeep gets to it.
func (s *session) alive() bool {
	s.mu.Lock()
	over, closed := s.over != nil, !s.c.clock.now().Before(s.window)
	s.mu.Unlock()
	if !over && closed {
		s.lose(errWindow)
	}
	return !over && !closed
}

// errWindow: nothing was proven for a TTL, so the engine may have let go.
var errWindow = fmt.Errorf("%w: no renewal succeeded within the trust window", ErrLost)

// enter notes a claim before its first request, so that upkeep renews it and a
// lost session wakes it.
func (s *session) enter(cl *claim) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return s.over
	}
	s.waiting[cl.ID] = cl
	s.calls.Add(1)
	return nil
}

// arm makes cancel what wakes the claim's next Acquire.
func (s *session) arm(cl *claim, cancel context.CancelCauseFunc) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return s.over // and wakeAll may be looking at the claim
	}
	cl.cancel = cancel
	return nil
}

// leave forgets a claim that was not granted.
func (s *session) leave(cl *claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, cl.ID)
}

// granted makes a lease of a claim, unless the session is over (S5).
// asked is a moment before the engine saw the claim.
func (s *session) granted(cl *claim, g engine.Grant, asked instant) (*Lease, error) {
	now := s.c.clock.now()
	l := &Lease{s: s, claim: cl, token: g.Token, since: now}

	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.waiting, cl.ID)
	if s.over != nil {
		return nil, s.over
	}
	l.until = s.window
	if !g.Until.IsZero() {
		l.until = s.c.clock.foreign(g.Until, asked).Add(-margin(s.ttl))
	}
	if cl.maxHold > 0 {
		l.maxHold = now.Add(cl.maxHold)
	}
	if !now.Before(l.until) {
		return nil, errWindow
	}
	s.leases[cl.ID] = l
	if s.look(l, now) {
		s.poke()
	}
	return l, nil
}

// look brings upkeep's next look forward to what l needs, and says whether it
// did. A short grant is renewed when a third of it has passed. s.mu is held.
func (s *session) look(l *Lease, now time.Time) (sooner bool) {
	if ends := l.ends(); ends.Before(s.earliest) {
		s.earliest, sooner = ends, true
	}
	if l.until.Before(s.window) {
		if at := now.Add(max(l.until.Sub(now)/3, s.ttl/50)); at.Before(s.renewAt) {
			s.renewAt, sooner = at, true
		}
	}
	return sooner
}

func (s *session) poke() {
	select {
	case s.wake <- struct{}{}:
	default: // it is about to look
	}
}

// forget drops a lease that its holder gave back.
func (s *session) forget(l *Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.leases, l.claim.ID)
}

// claims is all that was begun and not finished, and which of it was held when
// this was asked: only of those can a renewal say that they are lost, for the
// request of another may still be on its way.
func (s *session) claims() (all []*engine.Claim, held []*Lease) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = make([]*engine.Claim, 0, len(s.leases)+len(s.waiting))
	held = make([]*Lease, 0, len(s.leases))
	for _, l := range s.leases {
		all = append(all, &l.claim.Claim)
		held = append(held, l)
	}
	for _, cl := range s.waiting {
		all = append(all, &cl.Claim)
	}
	return all, held
}

// told is the engine's push of a loss. It must not block, so upkeep does what
// follows from it.
func (s *session) told(id engine.ClaimID, why error) {
	lost := fmt.Errorf("%w: %w", ErrLost, why)
	s.mu.Lock()
	l := s.leases[id]
	if id == "" && s.pushed == nil {
		s.pushed = lost
	}
	s.mu.Unlock()
	if l != nil {
		l.end(lost)
	}
	s.poke()
}

// lose ends the session as lost: first every lease, directly and without asking
// anybody (S1), then the waiters (S5), then the engine is told.
func (s *session) lose(why error) {
	leases, waiting, first := s.finish(why)
	if !first {
		return
	}
	for _, l := range leases {
		l.end(why)
	}
	wakeAll(waiting, why)
	s.c.dropped(s)
	s.c.opts.log.Warn("lockstep: session lost", "leases", len(leases), "waiting", len(waiting), "why", why)
	for _, l := range leases {
		s.c.reportLost(l)
	}
	s.c.background(func(ctx context.Context) {
		if err := s.letGo(ctx, leases, waiting); err != nil {
			s.c.opts.log.Debug("lockstep: lost session ends with its TTL", "error", err)
		}
	})
}

// close ends the session because its client closes. The functions of Do run
// under leases that have just ended: they get the margin to notice it, for the
// successor may start as soon as the engine knows.
func (s *session) close(why error) error {
	leases, waiting, first := s.finish(why)
	if !first {
		return nil
	}
	released := fmt.Errorf("%w: %w", ErrReleased, why)
	for _, l := range leases {
		if l.end(released) {
			s.c.opts.observer.released(l)
		}
	}
	wakeAll(waiting, why)
	s.c.running.wait(margin(s.c.opts.ttl)) // not s.ttl, which upkeep may be changing
	return s.letGo(context.Background(), leases, waiting)
}

// wakeAll ends the Acquires of claims in a session that is over: no other is
// armed, so their cancel functions stay as they are.
func wakeAll(waiting []*claim, why error) {
	for _, cl := range waiting {
		if cl.cancel != nil {
			cl.cancel(why)
		}
	}
}

// finish moves the session to over, once.
func (s *session) finish(why error) (leases []*Lease, waiting []*claim, first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil {
		return nil, nil, false
	}
	s.over = why
	for _, l := range s.leases {
		leases = append(leases, l)
	}
	for _, cl := range s.waiting {
		waiting = append(waiting, cl)
	}
	s.leases, s.waiting = nil, nil
	s.cancel(why)
	return leases, waiting, true
}

// letGo tells the engine that the session is over, once nothing else is asked of
// it. It is one bounded try: what the engine did not hear of ends with the
// session's TTL.
func (s *session) letGo(ctx context.Context, leases []*Lease, waiting []*claim) error {
	s.calls.Wait()
	<-s.done
	ctx, cancel := context.WithTimeout(ctx, s.ttl)
	defer cancel()
	claims := make([]*engine.Claim, 0, len(leases)+len(waiting))
	for _, l := range leases {
		claims = append(claims, &l.claim.Claim)
	}
	for _, cl := range waiting {
		claims = append(claims, &cl.Claim)
	}
	err := s.es.End(ctx, claims)
	if errors.Is(err, engine.ErrSessionEnded) {
		return nil
	}
	return err
}
