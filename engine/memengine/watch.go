package memengine

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sort"

	"github.com/lockstep-go/lockstep/engine"
)

// Watch yields the commits after a revision, from the map's log where that
// reaches back so far, and else the whole map first.
func (s store) Watch(ctx context.Context, name string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		m := s.service.watchMap(name)
		defer s.service.unwatchMap(m)
		events, bell := s.service.look(m, after, after == 0)
		for {
			for _, ev := range events {
				if err := s.usable(ctx); err != nil {
					yield(engine.Event{}, err)
					return
				}
				after = ev.Revision
				if !yield(cloneEvent(ev), nil) {
					return
				}
			}
			if len(events) == 0 {
				current, err := s.listen(ctx, bell)
				if err != nil {
					yield(engine.Event{}, err)
					return
				}
				if current && !yield(engine.Event{Revision: after}, nil) {
					return
				}
			}
			events, bell = s.service.look(m, after, false)
		}
	}
}

// listen waits for the bell, and says after a while that it has not rung: what
// was shown is still current.
func (s store) listen(ctx context.Context, bell <-chan struct{}) (current bool, err error) {
	quiet, cancel := context.WithTimeout(ctx, engine.Stale/3)
	defer cancel()
	err = s.sleep(quiet, bell)
	if quiet.Err() != nil && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		return true, nil
	}
	return false, err
}

// watchMap keeps the map from being forgotten while it is watched.
func (s *Service) watchMap(name string) *namedMap {
	s.lock()
	defer s.unlock()
	m := s.maps[name]
	if m == nil {
		m = newMap(engine.Revision(s.counter), s.now())
		s.maps[name] = m
	}
	m.watchers++
	return m
}

func (s *Service) unwatchMap(m *namedMap) {
	s.lock()
	defer s.unlock()
	m.watchers--
}

// look is what a watcher has yet to see, and the bell of what comes next.
func (s *Service) look(m *namedMap, after engine.Revision, full bool) ([]engine.Event, <-chan struct{}) {
	s.lock()
	defer s.unlock()
	if full {
		return []engine.Event{m.full()}, m.bell
	}
	return m.since(after), m.bell
}

// since is every commit after a revision; the whole map where the log does not
// reach back so far, or the map has never been there (it lost its data).
func (m *namedMap) since(after engine.Revision) []engine.Event {
	if after < m.base || after > m.revision {
		return []engine.Event{m.full()}
	}
	i := sort.Search(len(m.log), func(i int) bool { return m.log[i].Revision > after })
	return slices.Clone(m.log[i:])
}
