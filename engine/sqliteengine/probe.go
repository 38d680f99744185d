package sqliteengine

import "context"

// probe looks whether those in the way live, and whether the waiters' own
// sessions do.
func (w *waitRoom) probe() {
	for _, me := range w.waiters() {
		if err := me.s.check(); err != nil {
			w.answer(me, entered{err: err})
		}
	}
	now, over := w.e.clock.mono(), false
	var dead []int64
	asked := make(map[int64]bool)
	for _, way := range w.heads {
		over = over || way.ends > 0 && way.ends <= now
		for _, id := range way.sessions {
			if !asked[id] && !w.e.isAlive(id) {
				dead = append(dead, id)
			}
			asked[id] = true
		}
	}
	if len(dead) > 0 || over {
		w.reap(dead)
	}
}

// sweep looks whether anybody died, first in some line or not.
func (w *waitRoom) sweep() {
	w.mu.Lock()
	idle := len(w.claims)+len(w.watches) == 0
	w.mu.Unlock()
	if idle {
		return
	}
	dead, err := w.e.deadSessions()
	if err != nil {
		w.e.log.Warn("lockstep: cannot look for the dead", "error", err)
	}
	if dead = w.withRow(dead); len(dead) > 0 {
		w.reap(dead)
	}
}

// withRow leaves out whom somebody removed already.
func (w *waitRoom) withRow(dead []int64) []int64 {
	var left []int64
	if len(dead) == 0 {
		return nil
	}
	err := w.e.quick.snapshot(context.Background(), func(c *conn) error {
		left = left[:0]
		for _, id := range dead {
			r, err := c.first("SELECT 1 FROM sessions WHERE id = ?", id)
			if err != nil {
				return err
			}
			if r != nil {
				left = append(left, id)
			}
		}
		return nil
	})
	if err != nil {
		w.e.log.Warn("lockstep: cannot look for the dead", "error", err)
	}
	return left
}

// reap removes dead sessions and terms that are over, in a transaction that
// nobody here waits for: the bell must be heard while the gate is closed. One at
// a time; what it missed is found again.
func (w *waitRoom) reap(dead []int64) {
	if w.reaping != nil {
		select {
		case err := <-w.reaping:
			w.reaping = nil
			if err != nil {
				w.e.log.Warn("lockstep: cannot remove the dead; will try again", "error", err)
			}
		default:
			return
		}
	}
	w.reaping = w.e.writer.later(func(t *txn) error {
		for _, id := range dead {
			if err := t.reap(id); err != nil {
				return err
			}
		}
		t.after = append(t.after, w.wake) // the heads have changed
		return t.endTerms()
	})
}
