package sqliteengine

import (
	"context"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// A watch is somebody here who wants to know when a line or a map changes. Its
// topic stands in lines.db with this engine's bell, so that whoever changes it
// rings. Watches look for themselves when told: a ring says nothing but that.
//
// Whoever changes a line reads its watchers in the same transaction. Whoever
// commits to a map does it after the commit (tellMap), and whoever watches a map
// reads it after the registration: one of the two sees the other.
type watch struct {
	room  *waitRoom
	topic string
	rung  chan struct{} // holds one
}

func lineTopic(name string) string { return "l" + name }
func mapTopic(name string) string  { return "m" + name }

// watch registers before it returns: a change from then on rings.
func (w *waitRoom) watch(ctx context.Context, topic string) (*watch, error) {
	me := &watch{room: w, topic: topic, rung: make(chan struct{}, 1)}
	if err := w.start(func() { w.watches[me] = struct{}{} }); err != nil {
		return nil, err
	}
	w.wake() // so that its pauses begin
	err := w.e.writer.do(ctx, func(t *txn) error {
		n, err := t.exec("INSERT OR IGNORE INTO watchers (topic, bell) VALUES (?, ?)", topic, w.e.bell)
		if err != nil || n == 0 {
			return err
		}
		return t.addWatched(n)
	})
	if err != nil {
		w.unwatch(ctx, me)
		return nil, err
	}
	return me, nil
}

// unwatch forgets the watch, and with the last one on a topic its row, within
// ctx or behind its back: nobody who leaves waits for the gate.
func (w *waitRoom) unwatch(ctx context.Context, me *watch) {
	forgotten := w.forget(me)
	if forgotten == nil {
		return
	}
	select {
	case err := <-forgotten:
		if err != nil {
			w.e.log.Warn("lockstep: cannot forget a watch; it goes with this engine", "error", err)
		}
	case <-ctx.Done():
	case <-w.stop:
	}
}

// forget orders the row's removal under the lock that new watches need: they
// write the row again after it, as jobs keep their order.
func (w *waitRoom) forget(me *watch) <-chan error {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watches, me)
	for other := range w.watches {
		if other.topic == me.topic {
			return nil
		}
	}
	return w.e.writer.later(func(t *txn) error {
		n, err := t.exec("DELETE FROM watchers WHERE topic = ? AND bell = ?", me.topic, w.e.bell)
		if err != nil || n == 0 {
			return err
		}
		return t.addWatched(-n)
	})
}

// tellMap rings those who watch a map, after a commit to it. One that is not told
// looks by itself.
func (e *Engine) tellMap(name string) {
	bells := make(map[int64]struct{})
	err := e.quick.single(context.Background(), func(c *conn) error {
		clear(bells)
		for r, err := range c.query("SELECT bell FROM watchers WHERE topic = ?", mapTopic(name)) {
			if err != nil {
				return err
			}
			bells[r.int(0)] = struct{}{}
		}
		return nil
	})
	if err != nil {
		e.log.Warn("lockstep: cannot tell who watches a map; they will look by themselves", "error", err)
	}
	e.ring(bells)
}

// unwatchAll forgets what the engine with this bell watched.
func (t *txn) unwatchAll(bell int64) error {
	n, err := t.exec("DELETE FROM watchers WHERE bell = ?", bell)
	if err != nil {
		return err
	}
	return t.addWatched(-n)
}

func (t *txn) addWatched(n int64) error {
	if err := t.load(); err != nil {
		return err
	}
	t.meta.watched += n
	t.meta.changed = true
	return nil
}

// watched says whether anybody watches.
func (w *waitRoom) watched() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.watches) > 0
}

// tellWatches has every watch look. That is one cheap read each; the core has
// one watch per map, whatever the number of its watchers.
func (w *waitRoom) tellWatches() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for me := range w.watches {
		select {
		case me.rung <- struct{}{}:
		default:
		}
	}
}

// sleep until the watch is told, or for so long where atMost is not 0.
func (me *watch) sleep(ctx context.Context, atMost time.Duration) error {
	var timeUp <-chan time.Time
	if atMost > 0 {
		t := time.NewTimer(atMost)
		defer t.Stop()
		timeUp = t.C
	}
	select {
	case <-me.rung:
		return nil
	case <-timeUp:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-me.room.stop:
		return engine.ErrClosed
	}
}
