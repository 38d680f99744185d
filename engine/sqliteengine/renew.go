package sqliteengine

import (
	"context"
	"errors"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Renew writes the new deadline into the session's own file, and then looks
// whether the session and its claims still exist. It neither passes the gate nor
// writes to the database: a process stopped inside the gate must not end the
// sessions of others. Why that is enough: liveness.go.
func (s *Session) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	called := s.e.clock.mono()
	select {
	case <-s.renewing:
	case <-ctx.Done():
		return engine.Renewal{}, ctx.Err()
	}
	defer func() { s.renewing <- struct{}{} }()
	if err := s.check(); err != nil {
		return engine.Renewal{}, err
	}
	renewal, err := s.prolong(called)
	if errors.Is(err, engine.ErrSessionEnded) {
		s.lose()
	}
	if err != nil {
		return engine.Renewal{}, err
	}
	owned, err := s.owned(ctx, claims)
	if err != nil {
		return engine.Renewal{}, err
	}
	r := engine.Renewal{Lost: s.missed(claims, owned, renewal)}
	s.audit(claims, owned)
	return r, nil
}

// prolong moves the deadline to one TTL after the call of Renew.
func (s *Session) prolong(called int64) (renewal int, err error) {
	s.mu.Lock()
	old := s.deadline
	if s.ended || s.file == nil {
		s.mu.Unlock()
		return 0, engine.ErrSessionEnded
	}
	defer s.mu.Unlock()
	next := max(called+int64(s.ttl), old) // two calls may overtake each other
	if _, err := s.file.WriteAt(encodeDeadline(next), 0); err != nil {
		return 0, err
	}
	if s.e.clock.mono() >= old {
		// Somebody may have seen the old deadline pass: then this one is no news.
		_, err := s.file.WriteAt(encodeDeadline(0), 0)
		s.deadline = 0
		return 0, errors.Join(engine.ErrSessionEnded, err)
	}
	s.deadline = next
	s.renewals++
	return s.renewals, nil
}

// owned is what the session has in lines, by id, and of the given claims with a
// term those that were granted and are not over.
func (s *Session) owned(ctx context.Context, claims []*engine.Claim) (map[engine.ClaimID]bool, error) {
	owned := make(map[engine.ClaimID]bool, len(claims))
	lives := false
	err := s.e.quick.snapshot(ctx, func(c *conn) error {
		clear(owned)
		r, err := c.first("SELECT 1 FROM sessions WHERE id = ?", s.id)
		if lives = r != nil; err != nil || !lives {
			return err
		}
		for r, err := range c.query("SELECT id FROM claims WHERE session = ?", s.id) {
			if err != nil {
				return err
			}
			owned[engine.ClaimID(r.text(0))] = true
		}
		for _, claim := range claims {
			if claim.Term == 0 || owned[claim.ID] {
				continue
			}
			r, err := c.first("SELECT 1 FROM claims WHERE name = ? AND id = ? AND session = 0 AND ends > ?",
				claim.Name, string(claim.ID), s.e.clock.mono())
			if err != nil {
				return err
			}
			owned[claim.ID] = r != nil
		}
		return nil
	})
	if err == nil && !lives {
		s.lose()
		err = engine.ErrSessionEnded
	}
	return owned, err
}

// missed are the claims that are gone: not owned, and not on their way in.
func (s *Session) missed(claims []*engine.Claim, owned map[engine.ClaimID]bool, renewal int) (gone []engine.ClaimID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range claims {
		if !owned[c.ID] && s.entering[c.ID] == 0 && s.entered[c.ID] < renewal {
			gone = append(gone, c.ID)
		}
	}
	for id, at := range s.entered {
		if at < renewal {
			delete(s.entered, id)
		}
	}
	return gone
}

// audit removes what an Acquire left that arrived after its withdrawal: claims
// that two lists in a row miss. The lists must be some time apart: two at once
// may be one, sent twice.
func (s *Session) audit(claims []*engine.Claim, owned map[engine.ClaimID]bool) {
	listed := make(map[engine.ClaimID]bool, len(claims))
	for _, c := range claims {
		listed[c.ID] = true
	}
	var stray []engine.ClaimID
	s.mu.Lock()
	now := time.Now()
	for id := range s.missing {
		if listed[id] || !owned[id] {
			delete(s.missing, id)
		}
	}
	for id := range owned {
		if listed[id] {
			continue
		}
		since, again := s.missing[id]
		switch {
		case !again:
			s.missing[id] = now
		case now.Sub(since) >= s.ttl/4:
			stray = append(stray, id)
		}
	}
	s.mu.Unlock()
	for _, id := range stray {
		s.e.writer.later(func(t *txn) error {
			return t.drop("DELETE FROM claims WHERE session = ? AND id = ? RETURNING name", s.id, string(id))
		})
	}
}
