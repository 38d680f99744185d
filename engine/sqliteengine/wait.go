package sqliteengine

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// waitRoom is where the waiters of an engine sit: claims in line, and watchers
// of lines and maps. Who hears this engine's bell looks once for all of them, and
// answers. With the first of them a goroutine starts that does the rest.
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
	e      *Engine
	naps   naps
	wanted chan struct{} // holds one: somebody wants a look
	looked chan struct{} // holds one: there was one, and somebody here is first in line

	mu      sync.Mutex
	claims  map[*waiting]struct{}
	watches map[*watch]struct{}
	started bool
	closed  bool
	stop    chan struct{}
	done    sync.WaitGroup
	deaf    func()

	// looking comes before mu, and guards what a look leaves.
	looking sync.Mutex
	heads   map[string]inTheWay
	version int64        // of lines.db, at the last look
	stored  int64        // of lockstep.db, at the last look
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
		e: e, naps: n, stop: make(chan struct{}), wanted: make(chan struct{}, 1), looked: make(chan struct{}, 1),
		claims: make(map[*waiting]struct{}), watches: make(map[*watch]struct{}),
		heads: make(map[string]inTheWay),
	}
}

// ring is what the bell does, from another process. Whoever hears it looks, as
// each goroutine on the way makes a hand-off longer.
func (w *waitRoom) ring() {
	w.looking.Lock()
	w.look()
	first := len(w.heads) > 0
	w.looking.Unlock()
	w.tellWatches()
	if first { // from now on holders must be looked after
		poke(w.looked)
	}
}

// ringHere is ring for those who have other things to do.
func (w *waitRoom) ringHere() {
	w.tellWatches()
	w.wake()
}

// wake has the goroutine look after waiters soon.
func (w *waitRoom) wake() { poke(w.wanted) }

func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
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
	deaf, err := listen(w.e.bellFile, w)
	if err != nil {
		w.e.log.Warn("lockstep: cannot hear the bell, so hand-overs take up to a second", "error", err)
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
		return e, nil
	case <-ctx.Done():
		return entered{}, ctx.Err()
	case <-w.stop:
		return entered{}, engine.ErrClosed
	}
}

// loop is the goroutine. What is due is due whether or not a bell has rung
// meanwhile: bells that never stop must not keep anybody from looking.
func (w *waitRoom) loop() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	due := w.dueAfter(time.Now())
	for {
		want, fired := false, false
		select {
		case <-w.stop:
			return
		case <-w.wanted:
			want = true
		case <-w.looked:
		case <-timer.C:
			fired = true
		}
		if pause, ok := w.lookAround(&due, want, fired); ok {
			timer.Reset(pause)
		}
	}
}

// lookAround does what is wanted and what is due, and says when to come back.
func (w *waitRoom) lookAround(due *due, want, fired bool) (pause time.Duration, ok bool) {
	w.looking.Lock()
	defer w.looking.Unlock()
	if want {
		w.look()
	}
	now := time.Now()
	next := w.dueAfter(now)
	if fired || now.After(due.probe) {
		due.probe = next.probe
		w.probe()
	}
	if now.After(due.look) {
		due.look = next.look
		w.lookIfChanged()
	}
	if now.After(due.sweep) {
		due.sweep = next.sweep
		w.sweep()
	}
	return w.pause(*due)
}

// due is when what comes next.
type due struct{ probe, look, sweep time.Time }

func (w *waitRoom) dueAfter(now time.Time) due {
	return due{now.Add(nap(w.naps.probe)), now.Add(nap(w.naps.look)), now.Add(nap(w.naps.sweep))}
}

// pause is until the next look; none while nobody waits.
func (w *waitRoom) pause(d due) (time.Duration, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.claims)+len(w.watches) == 0 {
		return 0, false
	}
	pause := min(time.Until(d.look), time.Until(d.sweep))
	if len(w.heads) > 0 {
		pause = min(pause, time.Until(d.probe))
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
