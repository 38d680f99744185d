package redisengine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Scripts tell of a line's changes only while somebody watches it: that stands in
// its state, for lineWatched from the last look. Every lineLook a watcher looks
// anyway. So it sees as well what nobody tells: a foreign client's lock, and a
// claim whose time is over.
const (
	lineWatched = 30 * time.Second
	lineLook    = engine.Stale / 3
)

// WatchLine yields the line now and after every change; some may be merged.
func (e *Engine) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return func(yield func(engine.Line, error) bool) {
		if e.isOver() {
			yield(engine.Line{}, engine.ErrClosed)
			return
		}
		w := e.watchLine(ctx, name)
		defer w.end()
		for last, first := (engine.Line{}), true; ; first = false {
			line, err := w.next(ctx)
			if err != nil {
				yield(engine.Line{}, err)
				return
			}
			if (first || !line.Same(last)) && !yield(line, nil) {
				return
			}
			last = line
		}
	}
}

// lineWatch is one watch of a line. Its subscription comes first: what changes
// after the first look is told.
type lineWatch struct {
	e       *Engine
	name    string
	changed chan struct{} // holds one
	broken  chan struct{} // closed with the subscription
	err     error         // why; read after broken
	stop    context.CancelFunc
	pause   time.Duration // until the next look
}

func (e *Engine) watchLine(ctx context.Context, name string) *lineWatch {
	w := &lineWatch{e: e, name: name, changed: make(chan struct{}, 1), broken: make(chan struct{}), pause: lineLook}
	ctx, w.stop = context.WithCancel(ctx)
	ring := func() { offer(w.changed, struct{}{}) }
	go func() {
		defer close(w.broken)
		w.err = e.t.Subscribe(ctx, lineChannel+e.key(name), ring, func(string) { ring() })
	}()
	return w
}

func (w *lineWatch) end() {
	w.stop()
	<-w.broken
}

// next is the line when there may be something new about it.
func (w *lineWatch) next(ctx context.Context) (engine.Line, error) {
	timer := time.NewTimer(w.pause)
	defer timer.Stop()
	select {
	case <-w.changed:
	case <-timer.C:
	case <-w.broken:
		if ctx.Err() != nil {
			return engine.Line{}, ctx.Err()
		}
		return engine.Line{}, fmt.Errorf("watch of line %q: %w", w.name, w.e.explain(interrupted(w.err)))
	case <-w.e.closed:
		return engine.Line{}, engine.ErrClosed
	case <-ctx.Done():
		return engine.Line{}, ctx.Err()
	}
	line, ends, err := w.e.look(ctx, w.name, lineWatched)
	if w.pause = lineLook; ends > 0 {
		w.pause = min(w.pause, ends+time.Millisecond)
	}
	return line, err
}

// interrupted gives a subscription that ended without a word an error.
func interrupted(err error) error {
	if err == nil {
		return errors.New("redis: the subscription ended")
	}
	return err
}
