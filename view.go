package lockstep

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// A View is the copy of the map that the client's watch of it keeps anyway
// (watch_upstream.go), seen without a lock: readers look at whatever state is the
// newest, and nothing is queued for them. A slow reader sees fewer states.
//
// What a view promises about time needs care in two places. A commit's revision
// need not be that of any event, and what the engine answers to a question may be
// ahead of its events: so WaitFor, Sync and Fresh compare entries where revisions
// do not tell. The copy itself moves by events only.

// View is a local copy of a map that follows it. Its reads ask nobody, never wait
// and allocate nothing; each sees the map as it was at one revision, and never an
// older one than the read before. All views and watchers of a map in one client
// share one watch at the engine, and one copy.
//
// A view is behind the engine by what a message takes, and by more while the
// engine cannot be reached: [View.Stale] says so. It goes on by itself.
type View struct {
	m     *Map
	u     *upstream
	close func()
	ended context.Context // by Close
}

// View begins to follow the map, and waits until the view has the map as it is;
// ctx bounds only that. Close the view.
//
// Errors: those of [Map.Watch].
func (m *Map) View(ctx context.Context) (*View, error) {
	v, err := m.view(ctx)
	return v, m.failed("view", "", err)
}

func (m *Map) view(ctx context.Context) (*View, error) {
	store, err := m.store()
	if err != nil {
		return nil, err
	}
	u, err := m.c.upstream(store, m.full)
	if err != nil {
		return nil, err
	}
	end, cancel := context.WithCancel(context.Background())
	v := &View{m: m, u: u, ended: end, close: sync.OnceFunc(func() { cancel(); m.c.drop(u) })}
	if err := v.await(ctx, func(s *state) bool { return s.synced }); err != nil {
		v.close()
		return nil, err
	}
	return v, nil
}

// Close ends the view. Reads after it show what the client's copy had last.
func (v *View) Close() { v.close() }

// Err says why the view follows no more: [ErrClosed] after its Close or the
// client's, or an answer of the engine's that no repetition changes. nil while it
// follows, also while the engine cannot be reached.
func (v *View) Err() error { return v.m.failed("view", "", v.err()) }

func (v *View) err() error {
	if v.ended.Err() != nil {
		return ErrClosed
	}
	select {
	case <-v.u.over:
		return v.u.err
	default:
		return nil
	}
}

// Get is one entry. Its Value is the view's own: it may be kept, and must not be
// written to.
func (v *View) Get(key string) (Entry, bool) {
	if e := v.u.state.Load().entries.get(key); e != nil {
		return *e, true
	}
	return Entry{}, false
}

// Len is how many entries there are.
func (v *View) Len() int { return v.u.state.Load().entries.n }

// All yields the entries as they were at one revision, in no order. Their Values
// must not be written to.
func (v *View) All() iter.Seq[Entry] {
	s := v.u.state.Load()
	return func(yield func(Entry) bool) {
		for e := range s.entries.all() {
			if !yield(*e) {
				return
			}
		}
	}
}

// Snapshot is the whole map as the view has it, in byte order of the keys. It is a
// new list; Values must not be written to.
func (v *View) Snapshot() Snapshot {
	s := v.u.state.Load()
	out := Snapshot{Revision: s.revision, Entries: make([]Entry, 0, s.entries.n)}
	for e := range s.entries.all() {
		out.Entries = append(out.Entries, *e)
	}
	slices.SortFunc(out.Entries, func(a, b Entry) int { return strings.Compare(a.Key, b.Key) })
	return out
}

// Revision is that of the newest commit that the view shows.
func (v *View) Revision() Revision { return v.u.state.Load().revision }

// Changed is closed once the view shows something newer than at this call. Ask for
// it first and then read, and no change is missed, whatever the number of those
// that came while the reader was busy.
func (v *View) Changed() <-chan struct{} { return v.u.state.Load().replaced }

// Synced says that the view follows: what it shows is behind the engine by no more
// than a message takes.
func (v *View) Synced() bool { return v.Stale().IsZero() }

// Stale is since when the view may be behind, because the engine cannot be reached
// or the view has ended; the zero time while it follows. A connection that dies
// without a word is noticed within 10 s.
func (v *View) Stale() time.Time {
	quiet := v.u.quiet()
	if !v.u.interrupted.Load() && v.err() == nil && quiet <= engine.Stale {
		return time.Time{}
	}
	return v.m.c.clock.wall().Add(-quiet)
}

// quiet is for how long the engine has said nothing.
func (u *upstream) quiet() time.Duration {
	return u.c.clock.now().Sub(u.began) - time.Duration(u.heard.Load())
}

// WaitFor waits until the view shows everything up to a revision, as a commit has
// returned it, or until ctx ends. A revision that the map never reaches, as one
// from before the engine lost its data, is waited for until then.
func (v *View) WaitFor(ctx context.Context, revision Revision) error {
	return v.m.failed(fmt.Sprintf("wait for revision %d of", revision), "", v.waitFor(ctx, revision))
}

// waitFor asks the engine in the end: a commit that changed nothing may have a
// revision that no event ever shows.
func (v *View) waitFor(ctx context.Context, revision Revision) error {
	for wait := time.Second; ; wait = engine.Stale {
		patient, cancel := context.WithTimeout(ctx, wait)
		err := v.await(patient, func(s *state) bool { return s.revision >= revision })
		late := patient.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !late {
			return err
		}
		switch now, err := v.catchUp(ctx); {
		case err == nil && (now >= revision || !v.m.c.info.EveryChange):
			return nil // where changes are merged, so are revisions: what was read after the commit has it
		case err != nil && !errors.Is(err, ErrUnavailable):
			return err
		}
	}
}

// Sync waits until the view shows everything that was committed before the call:
// a fresh read of the whole map, which asks the engine for it.
func (v *View) Sync(ctx context.Context) error {
	_, err := v.catchUp(ctx)
	return v.m.failed("sync the view of", "", err)
}

// catchUp reads the map and waits until the view is nowhere behind it. The copy is
// not replaced by what was read: watchers who are shown every commit would miss
// those in between.
func (v *View) catchUp(ctx context.Context) (Revision, error) {
	if err := v.err(); err != nil {
		return 0, err
	}
	now, err := v.m.list(ctx)
	if err != nil {
		return 0, err
	}
	there := make(map[string]struct{}, len(now.Entries))
	var behind []func(*state) bool
	has := v.u.state.Load()
	for _, e := range now.Entries {
		there[e.Key] = struct{}{}
		if !has.shows(e) {
			behind = append(behind, func(s *state) bool { return s.shows(e) })
		}
	}
	for e := range has.entries.all() {
		if _, ok := there[e.Key]; !ok {
			behind = append(behind, func(s *state) bool { return s.goneSince(e, now.Revision) })
		}
	}
	return now.Revision, v.await(ctx, func(s *state) bool {
		for len(behind) > 0 && behind[0](s) {
			behind = behind[1:]
		}
		return len(behind) == 0
	})
}

// shows says that the state has this entry, or what came after it.
func (s *state) shows(e Entry) bool {
	if has := s.entries.get(e.Key); has != nil {
		return has.Revision >= e.Revision
	}
	return s.revision >= e.Revision
}

// goneSince says that an entry that the map did not have at a revision is gone
// from the state as well, or was written anew.
func (s *state) goneSince(e *Entry, revision Revision) bool {
	has := s.entries.get(e.Key)
	return has == nil || has.Revision != e.Revision || e.Revision > revision
}

// Fresh asks the engine for one entry, and waits until the view shows it, or what
// came after it: reads after Fresh are not older. [ErrNotFound] where there is
// none.
func (v *View) Fresh(ctx context.Context, key string) (Entry, error) {
	e, err := v.fresh(ctx, key)
	return e, v.m.failed("read key", key, err)
}

func (v *View) fresh(ctx context.Context, key string) (Entry, error) {
	if err := v.err(); err != nil {
		return Entry{}, err
	}
	was := v.u.state.Load().entries.get(key)
	e, err := v.m.get(ctx, key)
	switch {
	case err == nil:
		return e, v.await(ctx, func(s *state) bool { return s.shows(e) })
	case errors.Is(err, ErrNotFound) && was != nil:
		if late := v.await(ctx, func(s *state) bool { return s.goneSince(was, was.Revision) }); late != nil {
			return Entry{}, late
		}
	}
	return Entry{}, err
}

// await waits for a state that is right.
func (v *View) await(ctx context.Context, right func(*state) bool) error {
	for {
		s := v.u.state.Load()
		if right(s) {
			return nil
		}
		select {
		case <-s.replaced:
		case <-v.u.over:
			return v.err()
		case <-v.ended.Done():
			return ErrClosed
		case <-ctx.Done():
			return ended(ctx)
		}
	}
}
