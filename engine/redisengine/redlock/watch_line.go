package redlock

import (
	"context"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// A watch of a line listens at every node. Each tells of its own part of a change, so
// a change rings up to once for each node: the watcher looks when the first has rung
// and the others have had a moment, and again for whatever rings later. It looks as
// well at a slow pace, for what nobody tells: a foreign client, and the end of a TTL.
const (
	lineLook   = engine.Stale / 3
	lineSettle = 2 * time.Millisecond
)

// WatchLine yields the line now and after every change; some may be merged.
func (e *Engine) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return func(yield func(engine.Line, error) bool) {
		if e.isOver() {
			yield(engine.Line{}, errClosed)
			return
		}
		rung := make(chan struct{}, 1)
		stop := e.listenToLine(ctx, name, rung)
		defer stop()
		for last, first := (engine.Line{}), true; ; first = false {
			line, err := e.Line(ctx, name)
			if err != nil {
				yield(engine.Line{}, err)
				return
			}
			if (first || !line.Same(last)) && !yield(line, nil) {
				return
			}
			last = line
			if err := e.untilRung(ctx, rung); err != nil {
				yield(engine.Line{}, err)
				return
			}
		}
	}
}

// listenToLine rings when a node tells something, and when it may have told
// something that was not heard.
func (e *Engine) listenToLine(ctx context.Context, name string, rung chan<- struct{}) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ring := func() {
		select {
		case rung <- struct{}{}:
		default:
		}
	}
	ended := make(chan struct{}, len(e.nodes))
	for _, n := range e.nodes {
		go func() {
			defer func() { ended <- struct{}{} }()
			subscribe(ctx, n, lineChannel+e.key(name), ring, func(error) {}, func(string) { ring() })
		}()
	}
	return func() {
		cancel()
		for range e.nodes {
			<-ended
		}
	}
}

// untilRung waits until there may be something new.
func (e *Engine) untilRung(ctx context.Context, rung <-chan struct{}) error {
	timer := time.NewTimer(lineLook/2 + rand.N(lineLook/2))
	defer timer.Stop()
	select {
	case <-rung:
		pause(ctx, lineSettle)
		return nil
	case <-timer.C:
		return nil
	case <-e.closing:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
