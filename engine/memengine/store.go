package memengine

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// store is the maps of a service seen through one engine; it implements
// [engine.Store]. A map is its entries and the log of the commits that led there.
type store struct{ *Engine }

// A map's log holds so many commits and bytes of values; a watcher that asks for
// earlier ones meets a gap.
const (
	maxLog      = 1024
	maxLogBytes = 8 << 20
)

// namedMap is one map. It exists while it has entries, watchers or commits that
// are not old.
type namedMap struct {
	entries  map[string]engine.Entry
	revision engine.Revision // of the last commit; before the first, of the store when the map was made
	changed  time.Time
	log      []engine.Event  // its events are never changed
	logBytes int             // of values in log
	base     engine.Revision // log has every commit after it
	watchers int
	bell     chan struct{} // closed, and replaced, by a change
}

// List is a whole map.
func (s store) List(ctx context.Context, m string) (engine.Event, error) {
	if err := s.usable(ctx); err != nil {
		return engine.Event{}, err
	}
	s.service.lock()
	defer s.service.unlock()
	if nm := s.service.maps[m]; nm != nil {
		return cloneEvent(nm.full()), nil
	}
	return engine.Event{Revision: engine.Revision(s.service.counter), Full: true}, nil
}

// Get is one entry.
func (s store) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	if err := s.usable(ctx); err != nil {
		return engine.Entry{}, err
	}
	s.service.lock()
	defer s.service.unlock()
	if nm := s.service.maps[m]; nm != nil {
		if e, ok := nm.entries[key]; ok {
			return cloneEntry(e), nil
		}
	}
	return engine.Entry{}, fmt.Errorf("key %q of map %q: %w", key, m, engine.ErrNotFound)
}

// Commit does all of tx or nothing.
func (s store) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	if err := s.usable(ctx); err != nil {
		return 0, err
	}
	if err := checkTx(tx); err != nil {
		return 0, err
	}
	s.service.lock()
	defer s.service.unlock()
	now := s.service.now()
	s.service.sweep(now)
	id := commitID{m, tx.ID}
	if r, ok := s.service.commits.answers[id]; ok {
		return r, nil
	}
	r, err := s.service.commit(m, tx, now)
	if err != nil {
		return 0, err
	}
	s.service.commits.remember(id, r, now)
	return r, nil
}

func checkTx(tx engine.Tx) error {
	for _, e := range tx.Put {
		if len(e.Value) > maxValue {
			return fmt.Errorf("%w: value of %d bytes, the longest is %d", engine.ErrInvalid, len(e.Value), maxValue)
		}
	}
	return nil
}

func (s *Service) commit(name string, tx engine.Tx, now time.Time) (engine.Revision, error) {
	m := s.maps[name]
	if m == nil {
		m = newMap(engine.Revision(s.counter), now)
	}
	for _, c := range tx.If {
		if is := m.entries[c.Key].Revision; is != c.Revision {
			return 0, fmt.Errorf("key %q of map %q is at revision %d, not %d: %w", c.Key, name, is, c.Revision, engine.ErrConflict)
		}
	}
	changes := slices.DeleteFunc(slices.Clone(tx.Put), func(e engine.Entry) bool {
		return e.Deleted && m.entries[e.Key].Revision == 0
	})
	if len(changes) == 0 {
		return m.revision, nil
	}
	s.maps[name] = m
	m.apply(changes, engine.Revision(s.next()), now)
	return m.revision, nil
}

func newMap(r engine.Revision, now time.Time) *namedMap {
	return &namedMap{entries: make(map[string]engine.Entry), revision: r, base: r, changed: now, bell: make(chan struct{})}
}

// apply writes one commit's changes and logs them.
func (m *namedMap) apply(changes []engine.Entry, r engine.Revision, now time.Time) {
	for i, e := range changes {
		if e.Deleted {
			changes[i] = engine.Entry{Key: e.Key, Revision: r, Deleted: true}
			delete(m.entries, e.Key)
			continue
		}
		changes[i] = engine.Entry{Key: e.Key, Value: bytes.Clone(e.Value), Revision: r}
		m.entries[e.Key] = changes[i]
		m.logBytes += len(e.Value)
	}
	m.revision, m.changed = r, now
	m.log = append(m.log, engine.Event{Revision: r, Entries: changes})
	m.trim(maxLog)
	m.ring()
}

// trim keeps at most so many commits in the log, and at most maxLogBytes.
func (m *namedMap) trim(keep int) {
	drop := 0
	for drop < len(m.log) && (len(m.log)-drop > keep || m.logBytes > maxLogBytes) {
		for _, e := range m.log[drop].Entries {
			m.logBytes -= len(e.Value)
		}
		m.base = m.log[drop].Revision
		drop++
	}
	m.log = slices.Delete(m.log, 0, drop)
}

// reset empties the map as if it had never been, at revision r.
func (m *namedMap) reset(r engine.Revision, now time.Time) {
	clear(m.entries)
	m.log, m.logBytes = nil, 0
	m.revision, m.base, m.changed = r, r, now
	m.ring()
}

func (m *namedMap) ring() {
	close(m.bell)
	m.bell = make(chan struct{})
}

// full is the whole map in byte order; its values are the map's own.
func (m *namedMap) full() engine.Event {
	entries := slices.SortedFunc(maps.Values(m.entries), func(a, b engine.Entry) int { return strings.Compare(a.Key, b.Key) })
	return engine.Event{Revision: m.revision, Full: true, Entries: entries}
}

func cloneEvent(ev engine.Event) engine.Event {
	ev.Entries = slices.Clone(ev.Entries)
	for i, e := range ev.Entries {
		ev.Entries[i] = cloneEntry(e)
	}
	return ev
}

func cloneEntry(e engine.Entry) engine.Entry {
	e.Value = bytes.Clone(e.Value)
	return e
}
