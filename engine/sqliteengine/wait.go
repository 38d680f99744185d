package sqliteengine

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// waitRoom is where the waiters of an engine sit: claims in line, and watchers
// of lines and maps. Its one goroutine starts with the first of them. It sleeps
// until this engine's bell rings, and then looks once for all.
//
// Bells get lost: whoever should ring is killed between its commit and the bell,
// the kernel has no watches left. And nobody rings for the dead. So while there
// are waiters, and only then, without any transaction,
//
//   - the engine of the first waiter of a line looks whether the holders live
//     (their files), every naps.probe;
//   - every engine asks whether the database changed at all, every naps.look;
//   - and whether any session died, every naps.sweep: also a first waiter can
//     die, and then nobody would look after its holders.
//
// All of them are jittered: engines that started together drift apart.
type waitRoom struct {
	e    *Engine
	naps naps
	rung chan struct{} // holds one

	mu      sync.Mutex
	claims  map[*waiting]struct{}
	watches map[*watch]struct{}
	started bool
	closed  bool
	stop    chan struct{}
	done    sync.WaitGroup
	deaf    func()

	// What follows belongs to the goroutine.
	heads   map[string]inTheWay
	version int64        // of the database, at the last look
	reaping <-chan error // a transaction under way, nil: none
}

// naps are the greatest pauses between looks; the smallest are half of them.
type naps struct{ probe, look, sweep time.Duration }

var defaultNaps = naps{probe: 200 * time.Millisecond, look: time.Second, sweep: 3 * time.Second}

func nap(longest time.Duration) time.Duration { return longest/2 + rand.N(longest/2+1) }

// waiting is one Acquire that waits.
type waiting struct {
	s      *Session
	c      *engine.Claim
	answer chan entered // holds one
}

// inTheWay is what the first waiter of a line waits for.
type inTheWay struct {
	sessions []int64
	ends     int64 // when the first term is over; 0: there is none
}

func newWaitRoom(e *Engine, n naps) *waitRoom {
	return &waitRoom{
		e: e, naps: n, rung: make(chan struct{}, 1), stop: make(chan struct{}),
		claims: make(map[*waiting]struct{}), watches: make(map[*watch]struct{}),
		heads: make(map[string]inTheWay),
	}
}

// wake has the goroutine look soon.
func (w *waitRoom) wake() {
	select {
	case w.rung <- struct{}{}:
	default:
	}
}

// start makes sure that the goroutine runs, and that the bell is heard before
// the caller's first look.
func (w *waitRoom) start(join func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return engine.ErrClosed
	}
	join()
	if w.started {
		return nil
	}
	w.started = true
	deaf, err := listen(w.e.dir.bell(w.e.bell), w.wake)
	if err != nil {
		w.e.log.Warn("lockstep: cannot watch files, so hand-overs take up to a second", "error", err)
		deaf = func() {}
	}
	w.deaf = deaf
	w.done.Go(w.loop)
	return nil
}

// close ends every wait with ErrClosed.
func (w *waitRoom) close() {
	w.mu.Lock()
	already, started := w.closed, w.started
	w.closed = true
	w.mu.Unlock()
	if already {
		return
	}
	close(w.stop)
	w.done.Wait()
	if started {
		w.deaf()
		w.e.writer.later(func(t *txn) error { return t.unwatchAll(w.e.bell) })
	}
}

// await waits until the claim is granted, gone, or its session is.
func (w *waitRoom) await(ctx context.Context, s *Session, c *engine.Claim) (entered, error) {
	me := &waiting{s: s, c: c, answer: make(chan entered, 1)}
	if err := w.start(func() { w.claims[me] = struct{}{} }); err != nil {
		return entered{}, err
	}
	defer func() {
		w.mu.Lock()
		delete(w.claims, me)
		w.mu.Unlock()
	}()
	w.wake() // the grant may have come before us
	select {
	case e := <-me.answer:
		return e, e.err
	case <-ctx.Done():
		return entered{}, ctx.Err()
	case <-w.stop:
		return entered{}, engine.ErrClosed
	}
}

// loop is the goroutine.
func (w *waitRoom) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	now := time.Now()
	look, sweep := now.Add(nap(w.naps.look)), now.Add(nap(w.naps.sweep))
	for {
		select {
		case <-w.stop:
			return
		case <-w.rung:
			w.look()
			w.tellWatches()
		case <-timer.C:
			w.probe()
			if now := time.Now(); now.After(look) {
				look = now.Add(nap(w.naps.look))
				w.lookIfChanged()
			}
			if now := time.Now(); now.After(sweep) {
				sweep = now.Add(nap(w.naps.sweep))
				w.sweep()
			}
		}
		if pause, ok := w.pause(look, sweep); ok {
			timer.Reset(pause)
		}
	}
}

// pause is until the next look; none while nobody waits.
func (w *waitRoom) pause(look, sweep time.Time) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.claims)+len(w.watches) == 0 {
		return 0, false
	}
	pause := min(time.Until(look), time.Until(sweep))
	if len(w.heads) > 0 {
		pause = min(pause, nap(w.naps.probe))
	}
	now := w.e.clock.mono()
	for me := range w.claims {
		pause = min(pause, me.s.left(now))
	}
	for _, h := range w.heads {
		if h.ends > 0 {
			pause = min(pause, time.Duration(h.ends-now))
		}
	}
	return max(pause, time.Millisecond), true
}

func (w *waitRoom) waiters() []*waiting {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*waiting, 0, len(w.claims))
	for me := range w.claims {
		all = append(all, me)
	}
	return all
}

// look finds out, in one read, what became of every waiter, and where the rest
// is first in line.
func (w *waitRoom) look() {
	all := w.waiters()
	clear(w.heads)
	if len(all) == 0 {
		return
	}
	answers := make([]*entered, len(all))
	err := w.e.quick.snapshot(context.Background(), func(c *conn) (err error) {
		clear(w.heads)
		for i, me := range all {
			if answers[i], err = lookFor(c, me); err != nil {
				return err
			}
			if answers[i] != nil {
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
		if answer != nil {
			w.answer(all[i], *answer)
		}
	}
}

// lookFor is what became of a waiter, nil while it waits. Its look is the one
// that S5 asks for: the row is there after the grant, and the session's too.
func lookFor(c *conn, me *waiting) (*entered, error) {
	r, err := c.first(`SELECT token, ends FROM claims WHERE session IN (?, 0) AND id = ? AND name = ?`,
		me.s.id, string(me.c.ID), me.c.Name)
	switch {
	case err != nil:
		return nil, err
	case r != nil && r.int(0) > 0:
		return &entered{token: r.int(0), ends: r.int(1)}, nil
	case r != nil:
		return nil, nil
	}
	lives, err := c.first("SELECT 1 FROM sessions WHERE id = ?", me.s.id)
	if err != nil {
		return nil, err
	}
	if lives == nil {
		return &entered{err: engine.ErrSessionEnded}, nil
	}
	return &entered{err: fmt.Errorf("claim on %q: %w", me.c.Name, engine.ErrNotFound)}, nil
}

// lookAhead notes who is in the way if the waiter is the first in its line.
func (w *waitRoom) lookAhead(c *conn, me *waiting) error {
	var way inTheWay
	for r, err := range c.query("SELECT id, session, token, ends FROM claims WHERE name = ? ORDER BY seq", me.c.Name) {
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
		case <-w.reaping:
			w.reaping = nil
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

// lookIfChanged asks SQLite whether anybody else committed since it was last
// asked, which is no transaction, and looks only then.
func (w *waitRoom) lookIfChanged() {
	var version int64
	err := w.e.quick.do(context.Background(), func(c *conn) error {
		r, err := c.first("PRAGMA data_version")
		if err == nil {
			version = r.int(0)
		}
		return err
	})
	if err != nil || version == w.version {
		return
	}
	w.version = version
	w.look()
	w.tellWatches()
}

// left is until the session's deadline.
func (s *Session) left(now int64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.deadline - now)
}
