package memengine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// The way of a claim: enter puts it at the end of its line, settle grants what
// fits now, remove takes it out. All of a change happens in one critical
// section, so nobody sees a line with a free place and a waiter for it.

// enter finds the claim by its id, or puts it at the end of the line.
func (s *Service) enter(session *Session, want *engine.Claim) (*claim, error) {
	if err := want.Check(); err != nil {
		return nil, err
	}
	if c := s.find(want.Name, want.ID); c != nil {
		if c.session != nil && c.session != session {
			return nil, fmt.Errorf("%w: claim %s is another session's", engine.ErrInvalid, want.ID)
		}
		return c, nil
	}
	l := s.lines[want.Name]
	if l != nil && (l.kind != want.Kind || l.limit != want.Limit) {
		return nil, &engine.MismatchError{
			Name: want.Name, Kind: l.kind, Limit: l.limit, WantKind: want.Kind, WantLimit: want.Limit,
		}
	}
	c := &claim{
		id: want.ID, name: want.Name, shares: want.Shares, term: want.Term, note: slices.Clone(want.Note),
		session: session, entered: s.now(), told: make(chan struct{}),
	}
	if l == nil {
		l = &line{kind: want.Kind, limit: want.Limit}
		s.lines[want.Name] = l
	} else if want.Try && !l.takes(c) {
		return nil, &engine.HeldError{Line: l.show(want.Name, s.now())}
	}
	l.claims = append(l.claims, c)
	session.claims[c.id] = c
	s.settle(c.name)
	return c, nil
}

// find is the claim with this id; nil where it is not, or no longer, in line.
func (s *Service) find(name string, id engine.ClaimID) *claim {
	l := s.lines[name]
	if l == nil {
		return nil
	}
	c := l.find(id)
	if c != nil && !c.until.IsZero() && !s.now().Before(c.until) {
		s.remove(c) // its timer is late; nobody may use that moment (S5)
		return nil
	}
	return c
}

// hasTerm says whether the claim is one that outlives sessions, and in line.
func (s *Service) hasTerm(c *engine.Claim) bool {
	found := s.find(c.Name, c.ID)
	return found != nil && found.session == nil
}

// settle grants what fits after a change, drops a line that nobody is in, and
// shows the change.
func (s *Service) settle(name string) {
	l := s.lines[name]
	for _, c := range l.claims[l.holders():fitting(l.limit, l.claims)] {
		s.grant(c)
	}
	if len(l.claims) == 0 {
		delete(s.lines, name)
	}
	s.showLine(name)
}

func (s *Service) grant(c *claim) {
	c.token = engine.Token(s.next())
	c.granted = s.now()
	if c.term > 0 {
		delete(c.session.claims, c.id)
		c.session = nil
		c.until = c.granted.Add(c.term)
		c.timer = time.AfterFunc(c.term, func() { s.endTerm(c) })
	}
	close(c.told)
}

func (s *Service) endTerm(c *claim) {
	s.lock()
	defer s.unlock()
	if !c.gone {
		s.remove(c)
	}
}

// remove takes claims out of their lines, each line changing once, and lets the
// next in. Nobody else's place changes (S6).
func (s *Service) remove(claims ...*claim) {
	var names []string
	for _, c := range claims {
		c.leave()
		names = append(names, c.name)
	}
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		l := s.lines[name]
		l.claims = slices.DeleteFunc(l.claims, func(c *claim) bool { return c.gone })
		s.settle(name)
	}
}

// leave ends what belongs to a claim that goes.
func (c *claim) leave() {
	c.gone = true
	if c.session != nil {
		delete(c.session.claims, c.id)
	}
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.waits() {
		close(c.told)
	}
}

// await waits until the claim stops waiting, and reports its grant only if claim
// and session still live then (S5).
func (s *Session) await(ctx context.Context, c *claim) (engine.Grant, error) {
	select {
	case <-c.told:
	case <-ctx.Done():
		return engine.Grant{}, ctx.Err()
	case <-s.engine.closed:
		return engine.Grant{}, engine.ErrClosed
	}
	s.service.lock()
	defer s.service.unlock()
	// A granted claim with a term belongs to no session: it is what was asked
	// for, even if this session ended since.
	if err := s.check(); err != nil && c.until.IsZero() {
		return engine.Grant{}, err
	}
	if c.gone {
		return engine.Grant{}, fmt.Errorf("claim on %q: %w", c.name, engine.ErrNotFound)
	}
	return engine.Grant{Token: c.token, Until: c.until}, nil
}

// pass removes a holder and puts the waiter `to` before all others.
func (s *Service) pass(name string, from, to engine.ClaimID) error {
	giver, heir := s.find(name, from), s.find(name, to)
	if giver == nil && heir != nil && !heir.waits() {
		return nil // a repeat: it is done
	}
	if giver == nil || giver.waits() || heir == nil || !heir.waits() {
		return fmt.Errorf("pass on %q: %w", name, engine.ErrNotFound)
	}
	l := s.lines[name]
	l.claims = slices.DeleteFunc(l.claims, func(c *claim) bool { return c == heir })
	l.claims = slices.Insert(l.claims, l.holders(), heir)
	s.remove(giver)
	return nil
}
