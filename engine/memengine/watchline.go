package memengine

import (
	"context"
	"errors"
	"iter"

	"github.com/lockstep-go/lockstep/engine"
)

// maxLinesBehind is how many lines a watcher may be behind. Info.EveryTerm
// forbids merging them, and memory is no place to keep them for ever: whoever
// is slower meets an error, and calls again.
const maxLinesBehind = 1024

var errTooSlow = errors.New("memory: the watcher of a line fell too far behind")

// lineWatcher is one iteration of WatchLine.
type lineWatcher struct {
	lines   []engine.Line // not yet taken; guarded by the service's mutex
	dropped bool          // more came than lines holds
	bell    chan struct{} // holds one ring
}

// showLine gives every watcher of a name the line as it is now.
func (s *Service) showLine(name string) {
	for w := range s.watchers[name] {
		if len(w.lines) == maxLinesBehind {
			w.dropped = true
		}
		if !w.dropped {
			w.lines = append(w.lines, s.lines[name].show(name, s.now()))
		}
		select {
		case w.bell <- struct{}{}:
		default:
		}
	}
}

// WatchLine yields the line now and after every change, merging none.
func (e *Engine) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return func(yield func(engine.Line, error) bool) {
		w := e.service.watchLine(name)
		defer e.service.unwatchLine(name, w)
		for {
			lines, dropped := e.service.take(w)
			for _, l := range lines {
				if err := e.usable(ctx); err != nil {
					yield(engine.Line{}, err)
					return
				}
				if !yield(l, nil) {
					return
				}
			}
			if dropped {
				yield(engine.Line{}, errTooSlow)
				return
			}
			if err := e.sleep(ctx, w.bell); err != nil {
				yield(engine.Line{}, err)
				return
			}
		}
	}
}

func (s *Service) watchLine(name string) *lineWatcher {
	s.lock()
	defer s.unlock()
	w := &lineWatcher{bell: make(chan struct{}, 1)}
	if s.watchers[name] == nil {
		s.watchers[name] = make(map[*lineWatcher]struct{})
	}
	s.watchers[name][w] = struct{}{}
	w.lines = []engine.Line{s.lines[name].show(name, s.now())}
	return w
}

func (s *Service) unwatchLine(name string, w *lineWatcher) {
	s.lock()
	defer s.unlock()
	delete(s.watchers[name], w)
	if len(s.watchers[name]) == 0 {
		delete(s.watchers, name)
	}
}

func (s *Service) take(w *lineWatcher) (lines []engine.Line, dropped bool) {
	s.lock()
	defer s.unlock()
	lines, w.lines = w.lines, nil
	return lines, w.dropped
}

// sleep waits for the bell, the end of ctx or Close; the latter two win.
func (e *Engine) sleep(ctx context.Context, bell <-chan struct{}) error {
	select {
	case <-bell:
	case <-ctx.Done():
	case <-e.closed:
	}
	return e.usable(ctx)
}
