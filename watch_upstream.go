package lockstep

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// upstream is one map's watch at the engine, shared by all watchers of the map
// in this client. Its one goroutine follows the engine, resumes after
// interruptions, keeps a mirror of the map, works out the difference where it
// was shown the whole map (S9), and publishes what changed to the list.
//
// It lives from its first watcher to its last: Client.watches has it for as
// long, and Client.Close waits for it.
//
// Lock order: never both of Client.mu and upstream.mu.
type upstream struct {
	c        *Client
	store    engine.Store
	name     string // canonical
	cancel   context.CancelFunc
	watchers int // guarded by Client.mu

	state       atomic.Pointer[state] // the mirror; replaced under mu
	began       time.Time             // by the client's clock
	heard       atomic.Int64          // how long after that the engine last said something
	interrupted atomic.Bool           // the engine's watch broke, and has said nothing since

	mu    sync.Mutex
	list  list
	whole *batch // the mirror as a snapshot; nil: not made since the last change

	over chan struct{} // closed at its end
	err  error         // why; read after over
}

// state is the mirror as it was at one moment; it never changes.
type state struct {
	entries  trie
	synced   bool          // false: not filled yet
	revision Revision      // where the watch goes on from
	replaced chan struct{} // closed when there is a newer state
}

func filled(entries trie, revision Revision) *state {
	return &state{entries: entries, synced: true, revision: revision, replaced: make(chan struct{})}
}

// subscribe is how every kind of watcher begins: with a snapshot as its first
// batch. Who subscribes must leave.
func (m *Map) subscribe() (*subscription, error) {
	store, err := m.store()
	if err != nil {
		return nil, err
	}
	u, err := m.c.upstream(store, m.full)
	if err != nil {
		return nil, err
	}
	return u.join(), nil
}

// upstream is the map's upstream with one more watcher, begun if need be.
func (c *Client) upstream(store engine.Store, name string) (*upstream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, ErrClosed
	}
	u := c.watches[name]
	if u == nil {
		ctx, cancel := context.WithCancel(c.ctx)
		u = newUpstream(c, store, name, cancel)
		c.watches[name] = u
		c.tasks.Go(func() { u.run(ctx) })
	}
	u.watchers++
	return u, nil
}

func newUpstream(c *Client, store engine.Store, name string, cancel context.CancelFunc) *upstream {
	u := &upstream{c: c, store: store, name: name, cancel: cancel, list: newList(), over: make(chan struct{})}
	u.began = c.clock.now()
	u.state.Store(&state{replaced: make(chan struct{})})
	u.interrupted.Store(true)
	return u
}

// drop takes one watcher away; with the last one the upstream ends.
func (c *Client) drop(u *upstream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	u.watchers--
	if u.watchers > 0 {
		return
	}
	u.cancel()
	c.forget(u)
}

// forget is for the holder of c.mu. The name may have another upstream by now.
func (c *Client) forget(u *upstream) {
	if c.watches[u.name] == u {
		delete(c.watches, u.name)
	}
}

// join makes a watcher that begins with the mirror as it is, or, where it was
// never filled, with the first batch.
func (u *upstream) join() *subscription {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.state.Load()
	if !s.synced {
		return u.list.subscribe(u, nil)
	}
	if u.whole == nil {
		u.whole = s.snapshot()
	}
	return u.list.subscribe(u, u.whole)
}

func (s *state) snapshot() *batch {
	b := &batch{kind: snapshot, revision: s.revision, deltas: make([]delta, 0, s.entries.n)}
	for e := range s.entries.all() {
		b.deltas = append(b.deltas, delta{Entry: *e})
	}
	b.sort()
	return b
}

func (u *upstream) run(ctx context.Context) {
	defer u.cancel()
	err := u.follow(ctx)
	if u.c.ctx.Err() != nil {
		err = ErrClosed
	}
	u.c.mu.Lock()
	u.c.forget(u) // whoever watches next begins afresh
	u.c.mu.Unlock()
	u.mu.Lock()
	u.list.end(err)
	u.mu.Unlock()
	u.err = err
	close(u.over)
}

// follow watches until ctx ends or the engine says for certain that this map
// cannot be watched. Anything else is an interruption.
func (u *upstream) follow(ctx context.Context) error {
	log := u.c.opts.log.With("map", u.name)
	for failures := 1; ; failures++ {
		shown, err := u.watch(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case permanent(err):
			return classify(ctx, err)
		case shown:
			failures = 1
		}
		if failures == 1 {
			log.Warn("lockstep: a watch was interrupted; it is resumed", "error", err)
		}
		sleep(ctx, pause(engine.Stale, failures)) // a map's watch belongs to no session
	}
}

func permanent(err error) bool {
	for _, p := range []error{ErrInvalid, ErrUnsupported, ErrMismatch, ErrClosed, engine.ErrUnusable} {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}

var errWatchEnded = errors.New("the engine's watch ended without an error")

var errSilent = fmt.Errorf("the engine's watch was silent for %v", engine.Stale)

// watch follows the engine from where the mirror is to the first error, or until
// it is silent for too long: a connection can die without a word. It says whether
// anything was shown before.
func (u *upstream) watch(ctx context.Context) (shown bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(engine.Stale, func() { cancel(errSilent) })
	defer silence.Stop()
	defer u.interrupted.Store(true)
	for ev, err := range u.store.Watch(ctx, u.name, u.state.Load().revision) {
		if cause := context.Cause(ctx); errors.Is(cause, errSilent) {
			return shown, cause
		}
		if err != nil {
			return shown, err
		}
		silence.Reset(engine.Stale)
		shown = true
		u.take(ev)
	}
	return shown, errWatchEnded
}

// hear notes that the mirror is as the engine has it.
func (u *upstream) hear() {
	u.heard.Store(int64(u.c.clock.now().Sub(u.began)))
	u.interrupted.Store(false)
}

// take brings the mirror to where an event leads and publishes what changed.
func (u *upstream) take(ev engine.Event) {
	u.mu.Lock()
	defer u.mu.Unlock()
	was := u.state.Load()
	now, b := was, (*batch)(nil)
	switch {
	case ev.Full:
		now, b = was.replace(ev)
	case was.synced:
		now, b = was.apply(ev)
	}
	if now != was {
		u.whole = nil
		u.state.Store(now)
	}
	u.hear() // after that: who is told that a view follows must not find what was before
	if now != was {
		close(was.replaced)
	}
	if b != nil {
		u.list.publish(b)
	}
}

// replace makes the mirror what the engine shows as the whole map. That is the
// truth also where its revision, or an entry's, is lower than before: then the
// engine lost its data, and may even have given a revision out again, for another
// value. Nothing is told where nothing can have been missed.
func (s *state) replace(ev engine.Event) (*state, *batch) {
	b := &batch{kind: resync, revision: ev.Revision}
	if !s.synced {
		b.kind = snapshot
	}
	entries := s.entries.changed()
	shown := make(map[string]struct{}, len(ev.Entries))
	for _, e := range ev.Entries {
		shown[e.Key] = struct{}{}
		was := s.entries.get(e.Key)
		if was == nil || was.Revision != e.Revision || !bytes.Equal(was.Value, e.Value) {
			b.deltas = append(b.deltas, delta{e, was != nil})
			entries.put(e)
		}
	}
	for e := range s.entries.all() {
		if _, ok := shown[e.Key]; !ok {
			b.deltas = append(b.deltas, delta{Entry{Key: e.Key, Revision: ev.Revision, Deleted: true}, true})
			entries.remove(e.Key)
		}
	}
	if s.synced && ev.Revision == s.revision && len(b.deltas) == 0 {
		return s, nil
	}
	b.sort()
	return filled(entries, ev.Revision), b
}

// apply brings one commit into the mirror. What is not newer than the mirror was
// seen before (S9): an event that comes twice, or an entry that the whole map
// had shown already on an engine that reads it entry by entry.
func (s *state) apply(ev engine.Event) (*state, *batch) {
	if ev.Revision <= s.revision {
		return s, nil
	}
	b := &batch{kind: commit, revision: ev.Revision}
	entries := s.entries.changed()
	for _, e := range ev.Entries {
		if e.Deleted {
			e = Entry{Key: e.Key, Revision: ev.Revision, Deleted: true}
		}
		was := entries.get(e.Key)
		switch {
		case was != nil && e.Revision <= was.Revision, e.Deleted && was == nil:
			continue
		case e.Deleted:
			entries.remove(e.Key)
		default:
			entries.put(e)
		}
		b.deltas = append(b.deltas, delta{e, was != nil})
	}
	if len(b.deltas) == 0 {
		b = nil
	}
	return filled(entries, ev.Revision), b
}

// sort puts a snapshot into the order of its keys, and a difference into that of
// revisions (S9).
func (b *batch) sort() {
	slices.SortFunc(b.deltas, func(x, y delta) int {
		if b.kind != snapshot {
			if byRevision := cmp.Compare(x.Revision, y.Revision); byRevision != 0 {
				return byRevision
			}
		}
		return strings.Compare(x.Key, y.Key)
	})
}
