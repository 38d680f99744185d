package memengine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Session is one client's presence; it implements [engine.Session]. All its
// fields that change are guarded by the service's mutex.
type Session struct {
	service  *Service
	engine   *Engine
	ttl      time.Duration
	lost     func(engine.ClaimID, error)
	telling  sync.WaitGroup // calls of lost under way
	deadline time.Time
	timer    *time.Timer
	ended    bool
	claims   map[engine.ClaimID]*claim // waiting, or held without a term
}

func (e *Engine) newSession(o engine.SessionOptions) *Session {
	s := &Session{
		service: e.service, engine: e, ttl: o.TTL, lost: o.Lost,
		deadline: e.service.now().Add(o.TTL),
		claims:   make(map[engine.ClaimID]*claim),
	}
	s.timer = time.AfterFunc(o.TTL, s.timeUp)
	e.service.sessions[s] = struct{}{}
	return s
}

// TTL is what the session was begun with.
func (s *Session) TTL() time.Duration { return s.ttl }

// timeUp ends the session at exactly its deadline. A Renew may have moved that
// while the timer was already on its way here.
func (s *Session) timeUp() {
	s.service.lock()
	defer s.service.unlock()
	if !s.service.now().Before(s.deadline) {
		s.expire()
	}
}

// expire ends the session against its will.
func (s *Session) expire() {
	if s.ended {
		return
	}
	s.tell("", engine.ErrSessionEnded)
	s.end()
}

// end lets all claims of the session go; in the same critical section the next
// ones are granted.
func (s *Session) end() {
	s.ended = true
	s.timer.Stop()
	delete(s.service.sessions, s)
	s.service.remove(slices.Collect(maps.Values(s.claims))...)
}

// tell has the session's Lost called as soon as nothing is locked.
func (s *Session) tell(id engine.ClaimID, why error) {
	if s.lost == nil || s.ended {
		return
	}
	s.telling.Add(1)
	s.service.tell = append(s.service.tell, func() {
		defer s.telling.Done()
		s.lost(id, why)
	})
}

// check is nil while the session lives. Its timer may be a moment late; nobody
// may use that moment (S5).
func (s *Session) check() error {
	if s.engine.isClosed() {
		return engine.ErrClosed
	}
	if !s.ended && !s.service.now().Before(s.deadline) {
		s.expire()
	}
	if s.ended {
		return engine.ErrSessionEnded
	}
	return nil
}

// begin starts a transaction of a living session; only without an error is
// there something to unlock.
func (s *Session) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.service.lock()
	if err := s.check(); err != nil {
		s.service.unlock()
		return err
	}
	return nil
}

// Renew keeps the session alive for another TTL from now.
func (s *Session) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	if err := s.begin(ctx); err != nil {
		return engine.Renewal{}, err
	}
	defer s.service.unlock()
	s.deadline = s.service.now().Add(s.ttl)
	s.timer.Reset(s.ttl)

	var r engine.Renewal
	listed := make(map[engine.ClaimID]bool, len(claims))
	for _, c := range claims {
		listed[c.ID] = true
		if s.claims[c.ID] == nil && !s.service.hasTerm(c) {
			r.Lost = append(r.Lost, c.ID)
		}
	}
	s.audit(listed)
	return r, nil
}

// audit removes what an Acquire left that arrived after its withdrawal: claims
// that two Renews in a row did not list. One is not enough, as a claim may enter
// while a Renew is under way; nor are two at once, which are one sent twice.
func (s *Session) audit(listed map[engine.ClaimID]bool) {
	now := s.service.now()
	var stray []*claim
	for id, c := range s.claims {
		switch {
		case listed[id]:
			c.missing = time.Time{}
		case c.missing.IsZero():
			c.missing = now
		case now.Sub(c.missing) >= s.ttl/4:
			stray = append(stray, c)
		}
	}
	s.service.remove(stray...)
}

// End lets go of everything without a term. The list is not needed here: the
// session knows its claims.
func (s *Session) End(context.Context, []*engine.Claim) error {
	s.service.lock()
	if !s.ended {
		s.end()
	}
	s.service.unlock()
	s.telling.Wait()
	return nil
}

// Acquire enters the line and waits. Memory forgets nothing, so a claim is
// looked for by its id whether or not the caller is in doubt.
func (s *Session) Acquire(ctx context.Context, c *engine.Claim, _ bool) (engine.Grant, error) {
	if err := s.begin(ctx); err != nil {
		return engine.Grant{}, err
	}
	entered, err := s.service.enter(s, c)
	s.service.unlock()
	if err != nil {
		return engine.Grant{}, err
	}
	return s.await(ctx, entered)
}

// Release ends the claim by its id. One with a term outlives its session, so it
// is looked for before the session is.
func (s *Session) Release(ctx context.Context, c *engine.Claim) (bool, error) {
	if err := s.engine.usable(ctx); err != nil {
		return false, err
	}
	s.service.lock()
	defer s.service.unlock()
	err := s.check()
	if found := s.service.find(c.Name, c.ID); found != nil {
		s.service.remove(found)
		return true, nil
	}
	return false, err
}

// SetNote replaces what others see of the claim.
func (s *Session) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.service.unlock()
	found := s.service.find(c.Name, c.ID)
	if found == nil {
		return fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
	}
	found.note = slices.Clone(note)
	s.service.showLine(c.Name)
	return nil
}

// Pass hands the claim over to a waiter.
func (s *Session) Pass(ctx context.Context, c *engine.Claim, to engine.ClaimID) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.service.unlock()
	return s.service.pass(c.Name, c.ID, to)
}
