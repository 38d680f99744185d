package sqliteengine

import (
	"context"
	"fmt"

	"github.com/lockstep-go/lockstep/engine"
)

// look finds out, in one read, what became of every waiter, and where the rest
// is first in line.
func (w *waitRoom) look() {
	all := w.waiters()
	clear(w.heads)
	if len(all) == 0 {
		return
	}
	answers := make([]entered, len(all))
	read := w.e.quick.snapshot
	if len(all) == 1 {
		read = w.e.quick.single // each statement is right by itself
	}
	err := read(context.Background(), func(c *conn) (err error) {
		clear(w.heads)
		for i, me := range all {
			if answers[i], err = lookFor(c, me); err != nil {
				return err
			}
			if !answers[i].waits() {
				continue
			}
			if err := w.lookAhead(c, me); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		w.e.log.Warn("lockstep: cannot look after waiters; will try again", "error", err)
		w.version = 0
		return
	}
	for i, answer := range answers {
		if !answer.waits() {
			w.answer(all[i], answer)
		}
	}
}

// lookFor is what became of a waiter. Its look is the one that S5 asks for: the
// row is there after the grant, and the session's too.
func lookFor(c *conn, me *waiting) (entered, error) {
	r, err := c.first("SELECT token, ends FROM claims WHERE name = ? AND id = ? AND session IN (?, 0)",
		me.c.Name, string(me.c.ID), me.s.id)
	if err != nil {
		return entered{}, err
	}
	if r != nil {
		return entered{token: r.int(0), ends: r.int(1)}, nil
	}
	lives, err := c.first("SELECT 1 FROM sessions WHERE id = ?", me.s.id)
	switch {
	case err != nil:
		return entered{}, err
	case lives == nil:
		return entered{err: engine.ErrSessionEnded}, nil
	}
	return entered{err: fmt.Errorf("claim on %q: %w", me.c.Name, engine.ErrNotFound)}, nil
}

// lookAhead notes who is in the way if the waiter is the first in its line.
func (w *waitRoom) lookAhead(c *conn, me *waiting) error {
	var way inTheWay
	for r, err := range c.query(`SELECT id, session, token, ends FROM claims
		WHERE name >= ?1 AND name <= ?1 ORDER BY name, seq`, me.c.Name) {
		switch {
		case err != nil:
			return err
		case r.int(2) == 0: // the first that waits
			if r.text(0) == string(me.c.ID) {
				w.heads[me.c.Name] = way
			}
			return nil
		case r.int(1) > 0:
			way.sessions = append(way.sessions, r.int(1))
		case way.ends == 0 || r.int(3) < way.ends:
			way.ends = r.int(3)
		}
	}
	return nil
}

// answer ends a wait. A claim that left meanwhile does not mind.
func (w *waitRoom) answer(me *waiting, e entered) {
	w.mu.Lock()
	delete(w.claims, me)
	w.mu.Unlock()
	select {
	case me.answer <- e:
	default:
	}
}

// lookIfChanged asks whether anybody committed since it was last asked, and looks
// only then.
func (w *waitRoom) lookIfChanged() {
	lines, err := w.e.quick.version()
	if err == nil && lines != w.version {
		w.version = lines
		w.look()
		w.tellWatches()
	}
	if !w.watched() {
		return
	}
	store, err := w.e.news.version()
	if err == nil && store != w.stored {
		w.stored = store
		w.tellWatches()
	}
}
