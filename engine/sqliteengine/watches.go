package sqliteengine

import (
	"context"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// A watch is somebody here who wants to know when a line or a map changes. Its
// topic stands in the database with this engine's bell, so that whoever changes
// it rings. Watches look for themselves when told: a ring says nothing but that.
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
	err := w.e.writer.do(ctx, false, func(t *txn) error {
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
