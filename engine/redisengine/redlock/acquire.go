package redlock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// How an attempt treats a line (lua/acquire.lua).
const (
	modeTry  = "t" // take it now, or leave nothing
	modeNew  = "n" // wait at the end of the line
	modeLine = "c" // it is in line already
)

// tryAgain is how often a Try goes on after votes were split, so that of several who
// try at once one gets a free name.
const tryAgain = 6

// Acquire makes attempts: one at once, and another each time that the name may be
// free. Between them the claim is in line at every node, which tells its first when
// the name is free there; whoever is told by a majority attempts at once, whoever is
// told by fewer a little later.
//
// again needs no other way: each attempt takes over what an earlier one of the claim
// has, and counts it anew.
func (s *Session) Acquire(ctx context.Context, c *engine.Claim, _ bool) (engine.Grant, error) {
	if err := s.e.checkClaim(c); err != nil {
		return engine.Grant{}, err
	}
	if err := s.check(); err != nil {
		return engine.Grant{}, err
	}
	cl := s.claim(c)
	if err := s.enter(ctx, cl); err != nil {
		return engine.Grant{}, err
	}
	defer func() { <-cl.busy }()
	a := &acquire{s: s, e: s.e, c: c, cl: cl, w: s.e.room.enter(c.ID), life: s.ttl}
	defer s.e.room.leave(c.ID, a.w)
	if c.Term > 0 {
		a.life = c.Term
	}
	g, err := a.run(ctx)
	if err != nil && engine.Definite(err) {
		s.forget(c.ID)
	}
	return g, err
}

func (e *Engine) checkClaim(c *engine.Claim) error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.Kind != engine.Mutex && c.Kind != engine.Election {
		return fmt.Errorf("%w: a %v on redlock, which has mutexes and elections", engine.ErrUnsupported, c.Kind)
	}
	if c.Term > e.opts.maxTTL {
		return fmt.Errorf("%w: a term of %v; on redlock it may be %v: a node that restarts is kept out for so long",
			engine.ErrInvalid, c.Term, e.opts.maxTTL)
	}
	for i := range len(c.ID) {
		b := c.ID[i]
		if b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z' {
			continue
		}
		return fmt.Errorf("%w: claim id %q: letters and digits", engine.ErrInvalid, c.ID)
	}
	if len(c.ID) < shortestID || len(c.ID) > longestID {
		return fmt.Errorf("%w: claim id %q: %d to %d letters and digits", engine.ErrInvalid, c.ID, shortestID, longestID)
	}
	return nil
}

// An id is too long to be what a foreign token begins with.
const shortestID, longestID = 22, 64

// enter waits for another Acquire of the same claim: two at once would take each
// other's votes.
func (s *Session) enter(ctx context.Context, cl *claim) error {
	select {
	case cl.busy <- struct{}{}:
		return nil
	default:
	}
	select {
	case cl.busy <- struct{}{}:
		return nil
	case <-s.ended:
		return engine.ErrSessionEnded
	case <-s.e.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// acquire is one Acquire.
type acquire struct {
	s    *Session
	e    *Engine
	c    *engine.Claim
	cl   *claim
	w    *waiting
	life time.Duration // of a vote

	mode    string
	patient bool      // every node is waited for
	tries   int       // attempts so far
	splits  int       // of which the last so many ended in split votes
	nudged  time.Time // when it attempts though fewer than a majority told it to
}

func (a *acquire) run(ctx context.Context) (engine.Grant, error) {
	a.mode = modeNew
	if a.c.Try || !a.e.listens() {
		a.mode = modeTry // nobody could tell it anything yet
	}
	for {
		o := a.attempt(ctx, a.mode)
		if o.leftOut() && !a.patient { // too few answered, and not all were waited for
			a.patient = true
			continue
		}
		a.patient = false
		a.tries++
		if o.err != nil {
			return engine.Grant{}, o.err
		}
		if o.vote.Phase == vote.Won {
			return a.granted(o)
		}
		if err := a.refused(ctx, o); err != nil {
			return engine.Grant{}, err
		}
		if err := a.next(ctx, o.split()); err != nil {
			return engine.Grant{}, err
		}
	}
}

// next waits until another attempt is worth making, if one is made.
func (a *acquire) next(ctx context.Context, split bool) error {
	a.splits++
	if !split {
		a.splits = 0
	}
	switch {
	case a.c.Try && (!split || a.splits >= tryAgain):
		return a.held(ctx)
	case a.e.opts.tries > 0 && a.tries >= a.e.opts.tries:
		return a.leaveWith(ctx, a.held(ctx))
	case split:
		if a.mode == modeNew {
			a.mode = modeLine
		}
		return a.pause(ctx, a.e.opts.delay(a.splits))
	case a.mode == modeTry: // it will wait, and can be told from now on
		a.e.listen(ctx)
		a.mode = modeNew
		return nil
	}
	a.mode = modeLine
	return a.await(ctx)
}

// granted reports a grant if the session still lives (S5).
func (a *acquire) granted(o *outcome) (engine.Grant, error) {
	if err := a.s.check(); err != nil {
		return engine.Grant{}, err
	}
	a.cl.mu.Lock()
	defer a.cl.mu.Unlock()
	a.cl.held, a.cl.leaving, a.cl.attempt, a.cl.token, a.cl.removed = true, false, o.number, o.vote.Token, 0
	return engine.Grant{Token: engine.Token(o.vote.Token), Until: o.until}, nil
}

// refused is the error of a lost attempt, if it is one; nil: the name is held, or the
// votes were split.
func (a *acquire) refused(ctx context.Context, o *outcome) error {
	if m := o.mismatch(a.e, a.c.Kind); m != nil {
		m.Name, m.WantKind, m.WantLimit = a.c.Name, a.c.Kind, a.c.Limit
		return a.leaveWith(ctx, m)
	}
	switch {
	case !o.vote.Asked():
		return tooFew(len(a.e.nodes), (o.vote.For | o.vote.Against).Len(), o.errs)
	case o.late:
		return fmt.Errorf("redlock: %d nodes answered only after %v, and a grant for %v would have been over", o.vote.For.Len(), o.took, a.life)
	case o.mode == modeLine && o.absent.Len() >= vote.Majority(len(a.e.nodes)):
		return a.leaveWith(ctx, fmt.Errorf("claim on %q: %w", a.c.Name, engine.ErrNotFound))
	}
	return nil
}

// leaveWith takes the claim out of every line, and returns why.
func (a *acquire) leaveWith(ctx context.Context, why error) error {
	if _, err := a.s.release(ctx, a.c, giveBack); err != nil {
		return err // something may be left
	}
	return why
}

// held says by whom, as far as that can be asked.
func (a *acquire) held(ctx context.Context) error {
	line, err := a.e.Line(ctx, a.c.Name)
	if err != nil {
		line = engine.Line{Name: a.c.Name}
	}
	return &engine.HeldError{Line: line}
}

func (a *acquire) pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-a.s.ended:
		return engine.ErrSessionEnded
	case <-a.e.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// await waits until the name may be free.
func (a *acquire) await(ctx context.Context) error {
	majority := vote.Majority(len(a.e.nodes))
	a.nudged = time.Time{}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		n := a.w.now()
		if n.told.Len() >= majority {
			return nil
		}
		if n.removed.Len() >= majority {
			a.w.change(func(n *news) { n.removed = 0 }) // an earlier place of it may be meant
			if err := a.lives(ctx); err != nil {
				return err
			}
			continue
		}
		at, looks := a.nextLook(&n)
		timer.Reset(time.Until(at))
		select {
		case <-a.w.woken:
		case <-timer.C:
			if looks {
				return nil
			}
			if err := a.lives(ctx); err != nil {
				return err
			}
		case <-a.s.ended:
			return engine.ErrSessionEnded
		case <-a.e.closing:
			return errClosed
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nextLook is when the claim does something by itself: it looks, or it asks whether it
// lives at all.
func (a *acquire) nextLook(n *news) (at time.Time, looks bool) {
	if n.told != 0 && a.nudged.IsZero() {
		a.nudged = time.Now().Add(nudge())
	}
	at, looks = n.nextLook(len(a.e.nodes))
	if !a.nudged.IsZero() && (!looks || a.nudged.Before(at)) {
		at, looks = a.nudged, true
	}
	if ends := n.asked.Add(a.s.ttl); !looks || ends.Before(at) {
		at, looks = ends, false
	}
	return at, looks
}

// lives asks whether a claim is still in line, of which there is a doubt. It does not
// put it there again: whether it goes on is for the core to say.
func (a *acquire) lives(ctx context.Context) error {
	r, err := a.s.Renew(ctx, []*engine.Claim{a.c})
	if err == nil && len(r.Lost) > 0 {
		err = fmt.Errorf("claim on %q: %w", a.c.Name, engine.ErrNotFound)
	}
	if err == nil && len(r.Unsure) > 0 {
		err = errors.New("redlock: too few nodes answered to tell whether the claim is in line")
	}
	return err
}
