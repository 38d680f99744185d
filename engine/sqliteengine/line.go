package sqliteengine

import "github.com/lockstep-go/lockstep/engine"

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
	ends    int64 // when its first term is over; 0: none has one
}

func (t *txn) lineState(name string) (lineState, error) {
	r, err := t.first(`SELECT count(*), max(seq), kind, lim,
		sum(CASE WHEN token > 0 THEN shares END), count(CASE WHEN token = 0 THEN 1 END), min(CASE WHEN ends > 0 THEN ends END)
		FROM claims WHERE name = ?`, name)
	if err != nil {
		return lineState{}, err
	}
	return lineState{
		claims: r.int(0), last: r.int(1), kind: engine.Kind(r.int(2)), limit: r.int(3), used: r.int(4), waiting: r.int(5),
		ends: r.int(6),
	}, nil
}

// takes says whether the line can grant the claim as soon as it enters.
func (l lineState) takes(c *engine.Claim) bool {
	return l.claims == 0 || l.agrees(c) && l.waiting == 0 && l.used+int64(c.Shares) <= l.limit
}

func (l lineState) agrees(c *engine.Claim) bool {
	return l.claims == 0 || l.kind == c.Kind && l.limit == int64(c.Limit)
}

// remove takes a claim out of its line by its id, if it is there.
func (t *txn) remove(session int64, name string, id engine.ClaimID) (bool, error) {
	n, err := t.exec("DELETE FROM claims WHERE name = ? AND id = ? AND session IN (?, 0)", name, string(id), session)
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
	if err := t.changed(name); err != nil {
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

// head is of a kind that SQLite prepares once. It prepares anew at each run, for
// ten times as long as the run takes, what it planned with a look at the
// argument's value: some joins, and `name = ? ORDER BY seq`. The same rows in the
// same order are `name >= ?1 AND name <= ?1 ORDER BY name, seq`.
func (t *txn) head(name string) (waiter, error) {
	r, err := t.first(`SELECT seq, shares, session, term, bell FROM claims
		WHERE name >= ?1 AND name <= ?1 AND token = 0 ORDER BY name, seq LIMIT 1`, name)
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
