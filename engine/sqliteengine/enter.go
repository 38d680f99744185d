package sqliteengine

import (
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

// entered is what became of a claim: an error of the seam, a grant, or neither,
// and then it waits.
type entered struct {
	token int64
	ends  int64
	err   error
}

func (e entered) waits() bool { return e.token == 0 && e.err == nil }

// enter finds the claim by its id, or puts it at the end of the line: the same
// Acquire may come twice.
func (t *txn) enter(s *Session, c *engine.Claim) (entered, error) {
	lives, err := t.lives(s.id)
	if err != nil {
		return entered{}, err
	}
	l, err := t.lineState(c.Name)
	if err != nil {
		return entered{}, err
	}
	if l.claims > 0 {
		if e, found, err := t.find(s.id, c); err != nil || found {
			return e, err
		}
	}
	if !lives || s.left(t.now) <= 0 {
		return entered{err: engine.ErrSessionEnded}, nil
	}
	if l.takes(c) {
		return t.insert(s, c, l.last+1, true)
	}
	return t.enterHeld(s, c, l)
}

// lives says whether the session has a row, and brings lines.db's own row along.
func (t *txn) lives(session int64) (bool, error) {
	r, err := t.first("SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?), token, shares FROM claims WHERE name = '' AND seq = 0", session)
	if err != nil {
		return false, err
	}
	t.know(r[1:])
	return r.int(0) > 0, nil
}

// enterHeld asks first whether those in the way still live: who is told that a
// name is held is told the truth.
func (t *txn) enterHeld(s *Session, c *engine.Claim, l lineState) (entered, error) {
	t.alive[s.id] = true // enter has just looked
	l, err := t.sweepLine(c, l)
	switch {
	case err != nil:
		return entered{}, err
	case !l.agrees(c):
		return entered{err: &engine.MismatchError{
			Name: c.Name, Kind: l.kind, Limit: int(l.limit), WantKind: c.Kind, WantLimit: c.Limit,
		}}, nil
	case l.takes(c):
		return t.insert(s, c, l.last+1, true)
	case c.Try:
		line, _, err := t.e.readLine(t.conn, c.Name, t.isAlive)
		return entered{err: &engine.HeldError{Line: line}}, err
	}
	return t.insert(s, c, l.last+1, false)
}

// find is the claim where it is in line, waiting or granted. With a term it may
// belong to nobody by now.
func (t *txn) find(session int64, c *engine.Claim) (entered, bool, error) {
	r, err := t.first("SELECT token, ends FROM claims WHERE name = ? AND id = ? AND session IN (?, 0) AND (ends = 0 OR ends > ?)",
		c.Name, string(c.ID), session, t.now)
	if r == nil || err != nil {
		return entered{}, false, err
	}
	return entered{token: r.int(0), ends: r.int(1)}, true, nil
}

func (t *txn) insert(s *Session, c *engine.Claim, seq int64, granted bool) (entered, error) {
	var e entered
	session := s.id
	if granted {
		token, err := t.nextToken()
		if err != nil {
			return entered{}, err
		}
		e.token = token
		if c.Term > 0 {
			session, e.ends = 0, t.now+int64(c.Term)
		}
	}
	_, err := t.exec(`INSERT INTO claims (name, seq, id, kind, shares, lim, session, bell, token, since, term, ends, note)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		c.Name, seq, string(c.ID), int64(c.Kind), int64(c.Shares), int64(c.Limit), session, s.e.bell, e.token, t.now, int64(c.Term), e.ends, c.Note)
	if err != nil {
		return entered{}, err
	}
	return e, t.changed(c.Name)
}

func (t *txn) nextToken() (int64, error) {
	if err := t.load(); err != nil {
		return 0, err
	}
	t.meta.token++
	t.meta.changed = true
	return t.meta.token, nil
}

// sweepLine removes from a line what is in a claim's way and has ended without
// anybody noticing: terms that are over, and everything of holders whose sessions
// are dead. A dead waiter is found when its turn comes; only where the whole line
// must be gone, as it is of another kind, is everybody looked at.
func (t *txn) sweepLine(c *engine.Claim, l lineState) (lineState, error) {
	if l.ends > 0 && l.ends <= t.now {
		if err := t.drop("DELETE FROM claims WHERE name = ? AND ends > 0 AND ends <= ? RETURNING name", c.Name, t.now); err != nil {
			return lineState{}, err
		}
	}
	dead, err := t.deadIn(c, l)
	if err != nil {
		return lineState{}, err
	}
	for _, id := range dead {
		if err := t.reap(id); err != nil {
			return lineState{}, err
		}
	}
	if len(t.settle) == 0 {
		return l, nil // all as it was
	}
	if err := t.settleAll(); err != nil {
		return lineState{}, err
	}
	return t.lineState(c.Name)
}

// deadIn are the dead sessions in a claim's way, each once.
func (t *txn) deadIn(c *engine.Claim, l lineState) (dead []int64, err error) {
	least := int64(1) // of the tokens to look at
	if !l.agrees(c) {
		least = 0
	}
	// No DISTINCT: it would be prepared anew at each run (head, in line.go).
	for r, err := range t.query("SELECT session FROM claims WHERE name = ? AND session > 0 AND token >= ?", c.Name, least) {
		if err != nil {
			return nil, err
		}
		if id := r.int(0); !t.isAlive(id) && !slices.Contains(dead, id) {
			dead = append(dead, id)
		}
	}
	return dead, nil
}
