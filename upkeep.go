package lockstep

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Upkeep is one goroutine per session, whatever the number of its leases. It
// keeps two clocks apart: renewals, which ask the engine and may take for ever,
// and windows, which close by themselves (S1). A renewal therefore runs in a
// goroutine of its own, one at a time, and upkeep goes on looking at the clock.
func (s *session) upkeep() {
	defer close(s.done)
	timer := time.NewTimer(0)
	defer timer.Stop()
	var renewal chan outcome // nil: none is under way
	failures := 0
	for {
		timer.Reset(s.untilNext(renewal == nil))
		select {
		case <-s.ctx.Done():
			if renewal != nil {
				<-renewal
			}
			return
		case <-s.wake:
		case <-timer.C:
		case o := <-renewal:
			renewal = nil
			if s.settle(o) {
				failures = 0
			} else {
				failures++
				s.retryIn(pause(s.ttl, failures))
			}
		}
		s.closeWindows()
		if renewal == nil && s.renewalDue() {
			renewal = make(chan outcome, 1)
			go func() { renewal <- s.renew() }()
		}
	}
}

// untilNext is how long upkeep may sleep.
func (s *session) untilNext(mayRenew bool) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.earliest
	if s.window.Before(next) {
		next = s.window
	}
	if mayRenew && s.renewAt.Before(next) {
		next = s.renewAt
	}
	return next.Sub(s.c.clock.now())
}

func (s *session) renewalDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over == nil && !s.c.clock.now().Before(s.renewAt)
}

func (s *session) retryIn(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewAt = s.c.clock.now().Add(d)
}

// pause doubles from a 500th of the TTL to a tenth: a window holds several tries,
// and the first comes soon, for many a failure is a lost connection and no more.
func pause(ttl time.Duration, failures int) time.Duration {
	d := min(ttl/500<<min(failures-1, 6), ttl/10)
	return d - rand.N(d/4+1)
}

// outcome is what one renewal came to.
type outcome struct {
	asked   instant
	held    []*Lease // when it was asked
	claims  int
	renewal engine.Renewal
	err     error
}

// renew asks the engine once. The request gets a quarter of the TTL: one that
// hangs must leave time for another on a fresh connection.
func (s *session) renew() outcome {
	all, held := s.claims()
	o := outcome{asked: s.c.clock.instant(), held: held, claims: len(all)}
	ctx, cancel := context.WithTimeout(s.ctx, s.ttl/4)
	defer cancel()
	o.renewal, o.err = s.es.Renew(ctx, all)
	return o
}

// settle applies a renewal, and says whether it proved the session.
func (s *session) settle(o outcome) bool {
	now := s.c.clock.now()
	switch {
	case errors.Is(o.err, engine.ErrSessionEnded), errors.Is(o.err, engine.ErrClosed):
		s.lose(fmt.Errorf("%w: %w", ErrLost, o.err))
		return true
	case o.err != nil:
		s.c.opts.log.Warn("lockstep: renewal failed; it is tried again until the trust window closes", "error", o.err)
		return false
	}
	if !s.prolong(o, now) {
		return true
	}
	s.c.opts.observer.renewed(o.claims, now.Sub(o.asked.ours))
	return true
}

// prolong replaces the windows of what was proven: never max-ed, for a TTL may
// shrink. A reply that comes after the old window closed proves nothing (the
// engine may have granted the name to somebody else in between and this process
// may have said so): what closed stays closed.
func (s *session) prolong(o outcome, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over != nil || !now.Before(s.window) {
		return false // closeWindows ends it
	}
	if o.renewal.TTL > 0 {
		s.ttl = o.renewal.TTL
	}
	proven, known := s.proven(o)
	if !known {
		return false
	}
	s.window = proven.Add(s.ttl - margin(s.ttl))
	s.renewAt = o.asked.ours.Add(s.ttl/3 - rand.N(s.ttl/30))

	lost, unsure := set(o.renewal.Lost), set(o.renewal.Unsure)
	for _, l := range o.held {
		id := l.claim.ID
		switch {
		case lost[id]:
			l.end(errTaken)
		case !unsure[id]:
			l.prolong(s.window, now)
		}
	}
	for id := range lost {
		if cl := s.waiting[id]; cl != nil && cl.cancel != nil {
			cl.cancel(errLookAgain)
		}
	}
	s.earliest = now // closeWindows looks at all of them and finds the next
	return true
}

// proven is where the window runs from. An engine's own time may lie before this
// renewal was asked: it is read with what was suspended up to the newest request
// that is not younger, for time suspended since then must not be added.
func (s *session) proven(o outcome) (time.Time, bool) {
	s.asked = append(s.asked[max(0, len(s.asked)-7):], o.asked)
	if o.renewal.Proven.IsZero() {
		return o.asked.ours, true
	}
	for _, before := range slices.Backward(s.asked) {
		if !before.raw.After(o.renewal.Proven) {
			return s.c.clock.foreign(o.renewal.Proven, before), true
		}
	}
	return time.Time{}, false
}

// errTaken: the engine no longer has the claim: released by force, or forgotten.
var errTaken = fmt.Errorf("%w: the engine no longer has the claim", ErrLost)

// errLookAgain ends an Acquire whose claim a renewal did not find. It may be
// gone, or not have arrived yet: asking again for its id tells.
var errLookAgain = errors.New("look again")

func set(ids []engine.ClaimID) map[engine.ClaimID]bool {
	if len(ids) == 0 {
		return nil
	}
	m := make(map[engine.ClaimID]bool, len(ids))
	for _, id := range ids {
		m[id] = true
	}
	return m
}

// closeWindows ends what the clock, the engine or a late look has ended, and
// finds out when to look again.
func (s *session) closeWindows() {
	s.mu.Lock()
	now := s.c.clock.now()
	if s.over != nil {
		s.mu.Unlock()
		return
	}
	why := s.pushed
	if why == nil && !now.Before(s.window) {
		why = errWindow
	}
	if why != nil {
		s.mu.Unlock()
		s.lose(why)
		return
	}
	var ended []*Lease
	s.earliest = s.window
	for id, l := range s.leases {
		if l.expire(now) {
			ended = append(ended, l)
			delete(s.leases, id)
			continue
		}
		s.look(l, now)
	}
	s.mu.Unlock()

	var lost []*claim
	for _, l := range ended {
		if s.c.reportLost(l) {
			lost = append(lost, l.claim)
		}
	}
	if len(lost) > 0 {
		s.withdraw(lost...)
	}
}

// reportLost tells of a lease that ended without its holder's doing; false: its
// holder was faster.
func (c *Client) reportLost(l *Lease) bool {
	why := l.Err()
	if !errors.Is(why, ErrLost) {
		return false
	}
	held := c.clock.now().Sub(l.since)
	c.opts.log.Warn("lockstep: lease lost", "name", l.Name(), "token", l.token, "held", held, "why", why)
	c.opts.observer.lost(l, held, why)
	return true
}
