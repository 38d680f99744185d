package lockstep

import (
	"context"
	"fmt"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Bounds of a fixed term.
const (
	MinTerm = time.Second
	MaxTerm = 366 * 24 * time.Hour
)

func checkTerm(d time.Duration) error {
	if d < MinTerm || d > MaxTerm {
		return invalidf("a fixed term of %v; it may be %v to %v", d, MinTerm, MaxTerm)
	}
	return nil
}

// grantedTerm makes a lease of a fixed-term claim. It belongs to no session, so
// no upkeep looks after it: it has a timer of its own.
func (c *Client) grantedTerm(s *session, cl *claim, g engine.Grant, asked instant) (*Lease, error) {
	s.leave(cl)
	now := c.clock.now()
	l := &Lease{s: s, claim: cl, token: g.Token, since: now, until: now}
	if !g.Until.IsZero() {
		l.until = c.clock.foreign(g.Until, asked).Add(-margin(cl.Term))
	}
	if cl.maxHold > 0 {
		l.maxHold = now.Add(cl.maxHold)
	}
	if !now.Before(l.until) {
		c.removeTerm(cl)
		return nil, fmt.Errorf("%w: the fixed term of %v was over before its grant arrived", ErrLost, cl.Term)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed // the claim stays for its term, as after a crash
	}
	c.terms[l] = struct{}{}
	l.term = time.AfterFunc(l.ends().Sub(now), func() { c.termOver(l) })
	return l, nil
}

// termOver runs when the term's timer fires, a suspension of this machine aside.
func (c *Client) termOver(l *Lease) {
	if !c.forgetTerm(l) || l.Err() == nil {
		return // its holder was faster
	}
	c.opts.observer.released(l)
}

// forgetTerm says whether the lease was still known.
func (c *Client) forgetTerm(l *Lease) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.terms[l]
	delete(c.terms, l)
	return known
}

// releaseTerm ends a fixed term early. Session.Release cannot: the session may
// be long gone.
func (l *Lease) releaseTerm(ctx context.Context) error {
	c := l.s.c
	c.forgetTerm(l)
	if ctx.Err() == nil && c.eng.Remove(ctx, l.claim.Name, l.claim.ID) == nil {
		return nil
	}
	return c.await(ctx, c.removeTerm(l.claim))
}

// removeTerm removes a fixed-term claim in the background, until it has ended
// by itself.
func (c *Client) removeTerm(cl *claim) <-chan struct{} {
	term, cancel := context.WithTimeout(context.Background(), cl.Term)
	return c.persist(term, c.opts.ttl, func(ctx context.Context) bool {
		if c.eng.Remove(ctx, cl.Name, cl.ID) != nil {
			return false
		}
		cancel()
		return true
	})
}
