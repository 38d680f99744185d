package sqliteengine

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Acquire is one transaction where the name is free. Otherwise the claim is in
// line after it, and whoever makes room grants it and rings.
func (s *Session) Acquire(ctx context.Context, c *engine.Claim, _ bool) (engine.Grant, error) {
	if err := c.Check(); err != nil {
		return engine.Grant{}, err
	}
	if err := s.check(); err != nil {
		return engine.Grant{}, err
	}
	e, err := s.enter(ctx, c)
	if err == nil && e.waits() {
		e, err = s.e.wait.await(ctx, s, c)
	}
	if err = cmp.Or(err, e.err); err != nil {
		return engine.Grant{}, err
	}
	return s.report(c, e)
}

// enter runs the transaction. While it is under way a renewal must not take the
// claim for lost, and not right after it either: its list may be older.
func (s *Session) enter(ctx context.Context, c *engine.Claim) (e entered, err error) {
	s.mu.Lock()
	s.entering[c.ID]++
	s.mu.Unlock()
	e, err = transact(ctx, s.e.writer, func(t *txn) (entered, error) { return t.enter(s, c) })
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entering[c.ID]--; s.entering[c.ID] == 0 {
		delete(s.entering, c.ID)
	}
	s.entered[c.ID] = s.renewals
	return e, err
}

// report passes a grant on if claim and session still live (S5). The claim was
// seen granted by the transaction or the read just before.
func (s *Session) report(c *engine.Claim, e entered) (engine.Grant, error) {
	if e.ends == 0 {
		if err := s.check(); err != nil {
			return engine.Grant{}, err
		}
		return engine.Grant{Token: engine.Token(e.token)}, nil
	}
	// time.Now comes first: Until must not be later than the term's end.
	until := time.Now()
	left := time.Duration(e.ends - s.e.clock.mono())
	if left <= 0 {
		return engine.Grant{}, fmt.Errorf("claim on %q: its term is over: %w", c.Name, engine.ErrNotFound)
	}
	return engine.Grant{Token: engine.Token(e.token), Until: until.Add(left)}, nil
}

// Pass puts the waiter `to` in the claim's place, which it leaves.
func (s *Session) Pass(ctx context.Context, c *engine.Claim, to engine.ClaimID) error {
	if err := s.check(); err != nil {
		return err
	}
	passed, err := transact(ctx, s.e.writer, func(t *txn) (bool, error) { return t.pass(s.id, c, to) })
	if err == nil && !passed {
		err = fmt.Errorf("pass on %q: %w", c.Name, engine.ErrNotFound)
	}
	return err
}

func (t *txn) pass(session int64, c *engine.Claim, to engine.ClaimID) (bool, error) {
	heir, err := t.first("SELECT seq, token, session FROM claims WHERE name = ? AND id = ?", c.Name, string(to))
	if err != nil {
		return false, err
	}
	giver, err := t.first("SELECT seq, token FROM claims WHERE name = ? AND id = ? AND session IN (?, 0)", c.Name, string(c.ID), session)
	if err != nil || heir == nil || giver == nil {
		// A repeat after success finds its work done.
		return heir != nil && heir.int(1) > 0, err
	}
	if giver.int(1) == 0 || heir.int(1) > 0 || !t.isAlive(heir.int(2)) {
		return false, nil
	}
	// The holders keep their places before all waiters; seq numbers have gaps.
	if _, err := t.exec("DELETE FROM claims WHERE name = ? AND seq = ?", c.Name, giver.int(0)); err != nil {
		return false, err
	}
	_, err = t.exec("UPDATE claims SET seq = ? WHERE name = ? AND seq = ?", giver.int(0), c.Name, heir.int(0))
	t.settle = append(t.settle, c.Name)
	return true, err
}
