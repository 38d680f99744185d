package sqliteengine

import (
	"fmt"

	"github.com/lockstep-go/lockstep/engine"
)

// A line is the claims of one name in the order of seq. Those granted are its
// longest prefix whose shares fit the limit, so they stand before all that wait.
// Every transaction that takes a claim out of a line grants what then fits
// (settle): nobody ever sees a free place and a live waiter for it.

// lineState is what decides whether a claim can be granted at once.
type lineState struct {
	claims  int64
	last    int64 // greatest seq
	kind    engine.Kind
	limit   int64
	used    int64 // shares granted
	waiting int64
}

func (t *txn) lineState(name string) (lineState, error) {
	r, err := t.first(`SELECT count(*), max(seq), kind, lim,
		sum(CASE WHEN token > 0 THEN shares END), count(CASE WHEN token = 0 THEN 1 END)
		FROM claims WHERE name = ?`, name)
	if err != nil {
		return lineState{}, err
	}
	return lineState{
		claims: r.int(0), last: r.int(1), kind: engine.Kind(r.int(2)), limit: r.int(3), used: r.int(4), waiting: r.int(5),
	}, nil
}

// takes says whether the line can grant the claim as soon as it enters.
func (l lineState) takes(c *engine.Claim) bool {
	return l.claims == 0 || l.agrees(c) && l.waiting == 0 && l.used+int64(c.Shares) <= l.limit
}

func (l lineState) agrees(c *engine.Claim) bool {
	return l.claims == 0 || l.kind == c.Kind && l.limit == int64(c.Limit)
}

// entered is what became of a claim: an error of the seam, a grant, or neither,
// and then it waits.
type entered struct {
	token int64
	ends  int64
	err   error
}

// enter finds the claim by its id, or puts it at the end of the line. Without a
// doubt (again) a free name is tried first: that is the common case, and a claim
// that is in line after all is met when it is written.
func (t *txn) enter(s *Session, c *engine.Claim, again bool) (entered, error) {
	lives, err := t.lives(s.id)
	if err != nil {
		return entered{}, err
	}
	l, err := t.lineState(c.Name)
	if err != nil {
		return entered{}, err
	}
	if again || !l.takes(c) {
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
	return t.enterHeld(s, c)
}

// lives says whether the session has a row, and brings the meta row along.
func (t *txn) lives(session int64) (bool, error) {
	r, err := t.first("SELECT EXISTS (SELECT 1 FROM sessions WHERE id = ?), token, revision, base, watched FROM meta", session)
	if err != nil {
		return false, err
	}
	t.know(r[1:])
	return r.int(0) > 0, nil
}

// enterHeld asks first whether those in the way still live: who is told that a
// name is held is told the truth.
func (t *txn) enterHeld(s *Session, c *engine.Claim) (entered, error) {
	t.alive[s.id] = true // enter has just looked
	l, err := t.sweepLine(c)
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
	r, err := t.first("SELECT token, ends FROM claims WHERE session IN (?, 0) AND id = ? AND name = ? AND (ends = 0 OR ends > ?)",
		session, string(c.ID), c.Name, t.now)
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
	n, err := t.exec(`INSERT INTO claims (name, seq, id, kind, shares, lim, session, token, since, term, ends, note)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (session, id) DO NOTHING`,
		c.Name, seq, string(c.ID), int64(c.Kind), int64(c.Shares), int64(c.Limit), session, e.token, t.now, int64(c.Term), e.ends, c.Note)
	if err != nil {
		return entered{}, err
	}
	if n == 0 { // the same Acquire once more
		e, found, err := t.find(s.id, c)
		if err == nil && !found {
			e.err = fmt.Errorf("%w: claim %s is in another line", engine.ErrInvalid, c.ID)
		}
		return e, err
	}
	return e, t.changed(lineTopic(c.Name))
}

func (t *txn) nextToken() (int64, error) {
	if err := t.load(); err != nil {
		return 0, err
	}
	t.meta.token++
	t.meta.changed = true
	return t.meta.token, nil
}

// remove takes a claim out of its line by its id, if it is there.
func (t *txn) remove(session int64, name string, id engine.ClaimID) (bool, error) {
	n, err := t.exec("DELETE FROM claims WHERE session IN (?, 0) AND id = ? AND name = ?", session, string(id), name)
	if n > 0 {
		t.settle = append(t.settle, name)
	}
	return n > 0, err
}

// settleAll grants in every line that a claim left. Granting can find another
// session dead, whose claims then leave other lines.
func (t *txn) settleAll() error {
	for len(t.settle) > 0 {
		name := t.settle[0]
		t.settle = t.settle[1:]
		if err := t.settleLine(name); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) settleLine(name string) error {
	l, err := t.lineState(name)
	if err != nil {
		return err
	}
	if err := t.changed(lineTopic(name)); err != nil {
		return err
	}
	for l.waiting > 0 {
		head, err := t.head(name)
		if err != nil {
			return err
		}
		if !t.isAlive(head.session) { // never let a dead one in
			if err := t.reap(head.session); err != nil {
				return err
			}
			if l, err = t.lineState(name); err != nil {
				return err
			}
			continue
		}
		// The head is told even if it must go on waiting: it looks after the
		// holders (wait.go), and these have changed.
		t.ring(head.bell)
		if l.used+head.shares > l.limit {
			return nil
		}
		if err := t.grant(name, head); err != nil {
			return err
		}
		l.used += head.shares
		l.waiting--
	}
	return nil
}

// waiter is the first in line that waits.
type waiter struct {
	seq, shares, session, term, bell int64
}

func (t *txn) head(name string) (waiter, error) {
	r, err := t.first(`SELECT c.seq, c.shares, c.session, c.term, s.bell FROM claims c LEFT JOIN sessions s ON s.id = c.session
		WHERE c.name = ? AND c.token = 0 ORDER BY c.seq LIMIT 1`, name)
	if r == nil || err != nil {
		return waiter{}, err
	}
	return waiter{seq: r.int(0), shares: r.int(1), session: r.int(2), term: r.int(3), bell: r.int(4)}, nil
}

func (t *txn) grant(name string, w waiter) error {
	token, err := t.nextToken()
	if err != nil {
		return err
	}
	session, ends := w.session, int64(0)
	if w.term > 0 {
		session, ends = 0, t.now+w.term
	}
	_, err = t.exec("UPDATE claims SET token = ?, since = ?, session = ?, ends = ? WHERE name = ? AND seq = ?",
		token, t.now, session, ends, name, w.seq)
	return err
}

// sweepLine removes from a line what is in a claim's way and has ended without
// anybody noticing: terms that are over, and everything of holders whose sessions
// are dead. A dead waiter is found when its turn comes; only where the whole line
// must be gone, as it is of another kind, is everybody looked at.
func (t *txn) sweepLine(c *engine.Claim) (lineState, error) {
	if err := t.endTerms(); err != nil {
		return lineState{}, err
	}
	l, err := t.lineState(c.Name)
	if err != nil {
		return lineState{}, err
	}
	least := int64(1) // of the tokens to look at
	if !l.agrees(c) {
		least = 0
	}
	var dead []int64
	for r, err := range t.query("SELECT DISTINCT session FROM claims WHERE name = ? AND session > 0 AND token >= ?", c.Name, least) {
		if err != nil {
			return lineState{}, err
		}
		if id := r.int(0); !t.isAlive(id) {
			dead = append(dead, id)
		}
	}
	for _, id := range dead {
		if err := t.reap(id); err != nil {
			return lineState{}, err
		}
	}
	if err := t.settleAll(); err != nil {
		return lineState{}, err
	}
	return t.lineState(c.Name)
}

// endTerms removes every claim whose term is over.
func (t *txn) endTerms() error {
	return t.drop("DELETE FROM claims WHERE session = 0 AND ends <= ? RETURNING name", t.now)
}

// drop runs a DELETE that returns names, and has these lines settled.
func (t *txn) drop(sql string, args ...any) error {
	seen := make(map[string]bool)
	for r, err := range t.query(sql, args...) {
		if err != nil {
			return err
		}
		if name := r.text(0); !seen[name] {
			seen[name] = true
			t.settle = append(t.settle, name)
		}
	}
	return nil
}

// reap ends a session: its row and all claims that are its own.
func (t *txn) reap(session int64) error {
	r, err := t.first("DELETE FROM sessions WHERE id = ? RETURNING bell", session)
	if err != nil {
		return err
	}
	if r != nil {
		t.ring(r.int(0)) // if it lives after all, let it know at once
	}
	t.alive[session] = false
	t.after = append(t.after, func() { t.e.sessionGone(session) })
	return t.drop("DELETE FROM claims WHERE session = ? RETURNING name", session)
}

// isAlive asks once a transaction: a session that is dead stays dead, and one
// that dies meanwhile is found by the next.
func (t *txn) isAlive(session int64) bool {
	if session == 0 {
		return true // bound to a term instead
	}
	alive, asked := t.alive[session]
	if !asked {
		alive = t.e.isAlive(session)
		t.alive[session] = alive
	}
	return alive
}
