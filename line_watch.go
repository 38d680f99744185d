package lockstep

import (
	"context"
	"errors"
	"iter"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// The engine's watch of a line ends at the first interruption, and may die
// without a word. lines makes one of it that does neither: it begins again after
// an interruption, and looks for itself once nothing was said for engine.Stale.
// While a line changes that look is never made; while nothing does, it is one
// request in that time for each watcher (docs/decisions/0009).

// lines yields the line of a name now and after its changes; some may be merged,
// and the newest always arrives. It ends with its first error: that of ctx,
// [ErrClosed], or an answer of the engine's that no repetition changes.
func (c *Client) lines(ctx context.Context, full string) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		w := &lineWatch{c: c, name: full}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(c.ctx, cancel)()
		for failures := 1; ; failures++ {
			shown, err := w.watch(ctx, yield)
			switch {
			case errors.Is(err, errLeft):
				return
			case c.ctx.Err() != nil:
				yield(Line{}, ErrClosed)
				return
			case ctx.Err() != nil:
				yield(Line{}, ended(ctx))
				return
			case permanent(err):
				yield(Line{}, classify(ctx, err))
				return
			case shown:
				failures = 1
			}
			c.opts.log.Debug("lockstep: the watch of a line was interrupted; it is resumed", "name", full, "error", err)
			sleep(ctx, pause(engine.Stale, failures))
		}
	}
}

// errLeft: the loop's body does not want any more.
var errLeft = errors.New("left")

// lineWatch is one watch of a line through all its interruptions.
type lineWatch struct {
	c    *Client
	name string

	mu    sync.Mutex
	shown int       // lines so far
	last  Line      // of them
	heard time.Time // when the engine said something, by itself or asked
}

// watch follows the engine's watch to its end, and says whether it showed
// anything.
func (w *lineWatch) watch(ctx context.Context, yield func(Line, error) bool) (shown bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	var look sync.WaitGroup
	defer look.Wait()
	defer cancel(nil)
	w.hear()
	look.Go(func() { cancel(w.look(ctx)) })
	for line, err := range w.c.eng.WatchLine(ctx, w.name) {
		if err != nil {
			return shown, err
		}
		shown = true
		w.hear()
		if w.news(line) && !yield(line, nil) {
			return shown, errLeft
		}
	}
	return shown, errWatchEnded
}

// news says whether a line differs from the one before it.
func (w *lineWatch) news(line Line) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shown > 0 && line.Same(w.last) {
		return false
	}
	w.shown++
	w.last = line
	return true
}

func (w *lineWatch) newest() (Line, int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.last, w.shown
}

func (w *lineWatch) hear() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.heard = time.Now()
}

// silence is for how long the engine has said nothing.
func (w *lineWatch) silence() time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.heard)
}

// look ends when the line is not what a watch that said nothing for engine.Stale
// has shown last, or it has shown none at all. An engine that cannot be asked is
// asked again: when it can, the watch may have died without a word.
func (w *lineWatch) look(ctx context.Context) error {
	for {
		for left := engine.Stale - w.silence(); left > 0; left = engine.Stale - w.silence() {
			sleep(ctx, left)
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		last, before := w.newest()
		line, err := w.ask(ctx)
		if _, shown := w.newest(); err == nil && shown == before && (shown == 0 || !line.Same(last)) {
			return errSilent
		}
		w.hear()
	}
}

func (w *lineWatch) ask(ctx context.Context) (Line, error) {
	ctx, done := context.WithTimeout(ctx, w.c.opts.ttl/4)
	defer done()
	return w.c.eng.Line(ctx, w.name)
}

// lineOf is a line by its name at the engine, asked for until there is an answer.
func (c *Client) lineOf(ctx context.Context, full string) (line Line, err error) {
	err = c.ask(ctx, func(ctx context.Context) (err error) {
		line, err = c.eng.Line(ctx, full)
		return err
	})
	return line, err
}
