package zkengine

import (
	"context"
	"errors"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// errStopped: the consumer of a watch wants no more.
var errStopped = errors.New("stopped")

// Watch keeps no log and so begins with the whole map, whatever `after` is. Then the
// map's node and each child carry a watch of ZooKeeper's; what fires is read again,
// with the next watch. Two changes before that are seen as one.
//
// A broken connection ends it: what was missed is found by the core from the next
// Full.
func (s *store) Watch(ctx context.Context, m string, _ engine.Revision) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		if s.e.isOver() {
			yield(engine.Event{}, engine.ErrClosed)
			return
		}
		r := newReader(s, m, true)
		defer r.close()
		err := r.follow(ctx, func(ev engine.Event) bool { return yield(ev, nil) })
		if !errors.Is(err, errStopped) {
			yield(engine.Event{}, s.e.orClosed(err))
		}
	}
}

// reader is a map as it was last read.
type reader struct {
	s     *store
	m     string
	dir   string
	watch bool
	woken chan struct{}

	entries map[string]engine.Entry // by child; "": the map's own value
	known   map[string]bool         // children that are listened to
	max     engine.Revision         // the newest that was read
	last    engine.Revision         // the newest that was told
	held    map[string]engine.Entry // changes that were read and not told, by key

	mu      sync.Mutex
	changed map[string]bool // paths of which an event came
}

func newReader(s *store, m string, watch bool) *reader {
	return &reader{
		s: s, m: m, dir: s.e.paths.of(m), watch: watch, woken: make(chan struct{}, 1),
		entries: make(map[string]engine.Entry), known: make(map[string]bool), held: make(map[string]engine.Entry), changed: make(map[string]bool),
	}
}

func (r *reader) event(ev zk.Event) {
	r.mu.Lock()
	r.changed[ev.Path] = true
	r.mu.Unlock()
	r.wake()
}

func (r *reader) wake() {
	select {
	case r.woken <- struct{}{}:
	default:
	}
}

// take is the paths that have changed since it was last called.
func (r *reader) take() map[string]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	changed := r.changed
	r.changed = make(map[string]bool)
	return changed
}

func (r *reader) pending() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.changed) > 0
}

func (r *reader) close() {
	for child := range r.known {
		r.s.e.conn.tap.unlisten(r.path(child), r)
	}
	r.known = nil
}

func (r *reader) path(child string) string {
	if child == "" {
		return r.dir
	}
	return r.dir + "/" + child
}

// listen is told of a child's events from now on.
func (r *reader) listen(child string) {
	if r.watch && !r.known[child] {
		r.known[child] = true
		r.s.e.conn.tap.listen(r.path(child), r)
	}
}

func (r *reader) unlisten(child string) {
	if r.known[child] {
		delete(r.known, child)
		r.s.e.conn.tap.unlisten(r.path(child), r)
	}
}

// follow yields the map and then its changes, until the consumer stops, ctx ends or
// the connection breaks.
func (r *reader) follow(ctx context.Context, yield func(engine.Event) bool) error {
	if err := r.s.e.latest(ctx); err != nil {
		return err
	}
	_, link := r.s.e.conn.tap.now()
	if link == nil {
		return errLink
	}
	quiet := time.NewTicker(engine.Stale / 3)
	defer quiet.Stop()
	for ev, err := r.full(ctx); ; ev, err = r.next(ctx, link, quiet.C) {
		if err != nil {
			return err
		}
		if _, now := r.s.e.conn.tap.now(); now != link {
			return errLink
		}
		if !yield(ev) {
			return errStopped
		}
	}
}

// sync is no write: every watch asks it every few seconds. What a follower has applied
// before the leader comes as an event a moment later.
func (r *reader) sync(ctx context.Context) error {
	_, err := ask(ctx, r.s.e, func() (struct{}, error) { return struct{}{}, r.s.e.conn.sync(r.dir) })
	return err
}

// next is the next changes, or after a while without any that there are none.
func (r *reader) next(ctx context.Context, link *link, quiet <-chan time.Time) (engine.Event, error) {
	for {
		select {
		case <-r.woken:
			if ev, err := r.changes(ctx); err != nil || len(ev.Entries) > 0 {
				return ev, err
			}
		case <-quiet:
			// Nothing has changed if no event comes before the answer to sync.
			if err := r.sync(ctx); err != nil || !r.pending() && len(r.held) == 0 {
				return engine.Event{Revision: r.last}, err
			}
		case <-link.gone:
			return engine.Event{}, errLink
		case <-ctx.Done():
			return engine.Event{}, ctx.Err()
		case <-r.s.e.ctx.Done():
			return engine.Event{}, engine.ErrClosed
		}
	}
}

// rounds bounds how often a whole map is read again because it changes meanwhile.
const rounds = 100

// full is the whole map. What changed while it was read is read with it, so that what
// follows is of later revisions.
func (r *reader) full(ctx context.Context) (engine.Event, error) {
	if r.watch {
		r.listen("")
	}
	changed := map[string]bool{r.dir: true}
	for i := 0; i < rounds && len(changed) > 0; i++ {
		if _, err := r.read(ctx, changed); err != nil {
			return engine.Event{}, err
		}
		changed = r.take()
	}
	r.again(changed)
	r.last = r.max
	ev := engine.Event{Revision: r.last, Full: true}
	for _, e := range r.entries {
		ev.Entries = append(ev.Entries, e)
	}
	ev.Entries = cloned(ev.Entries)
	return ev, nil
}

// again puts back what was taken and not read.
func (r *reader) again(changed map[string]bool) {
	for path := range changed {
		r.event(zk.Event{Path: path})
	}
}

// cloned has values that are their receiver's own, in order.
func cloned(entries []engine.Entry) []engine.Entry {
	for i := range entries {
		entries[i].Value = slices.Clone(entries[i].Value)
	}
	return sorted(entries)
}

// changes reads what has changed, and returns what is sure to be complete.
//
// When something of revision r has been read, the events of all that happened before
// r have come. So what they are about is taken by the next look, and then everything
// up to r is known: what is read is held back until then, and revisions rise. Where
// nothing else has happened that next look asks nobody.
func (r *reader) changes(ctx context.Context) (engine.Event, error) {
	for {
		complete := r.max
		if changed := r.take(); len(changed) > 0 {
			read, err := r.read(ctx, changed)
			if err != nil {
				return engine.Event{}, err
			}
			for _, e := range read {
				r.held[e.Key] = e
			}
		}
		if ev, ok := r.release(complete); ok {
			return ev, nil
		}
	}
}

// release is what is held of revisions up to the one given; false: look again.
func (r *reader) release(complete engine.Revision) (engine.Event, bool) {
	ev := engine.Event{Revision: r.last}
	for key, e := range r.held {
		if e.Revision <= complete {
			ev.Entries = append(ev.Entries, e)
			ev.Revision = max(ev.Revision, e.Revision)
			delete(r.held, key)
		}
	}
	if len(ev.Entries) > 0 {
		r.last = max(ev.Revision, r.last+1)
		ev.Revision = r.last
		ev.Entries = cloned(ev.Entries)
	}
	if len(r.held) > 0 {
		r.wake()
	}
	return ev, len(ev.Entries) > 0 || len(r.held) == 0
}

// state is a child as it was read.
type state struct {
	child string
	node  node
	gone  bool
}

// read reads what changed, and what that brings to light, and says which entries are
// other than they were.
func (r *reader) read(ctx context.Context, changed map[string]bool) ([]engine.Entry, error) {
	var listed *children
	var todo []string
	present := make(map[string]bool)
	if changed[r.dir] {
		all, err := r.list(ctx)
		if err != nil {
			return nil, err
		}
		listed, todo = &all, []string{""}
		for _, child := range all.names {
			if isKey(child) {
				present[child] = true
			}
		}
	}
	for child := range present {
		if !r.known[child] || changed[r.path(child)] {
			todo = append(todo, child)
		}
	}
	for path := range changed {
		if path != r.dir && listed == nil {
			todo = append(todo, base(path))
		}
	}
	states, err := r.load(ctx, todo)
	if err != nil {
		return nil, err
	}
	var out []engine.Entry
	for _, st := range states {
		if e, ok := r.note(st); ok {
			out = append(out, e)
		}
	}
	if listed != nil {
		at := revision(listed.stat.Pzxid)
		out = append(out, r.missing(present, at)...)
		r.max = max(r.max, at, revision(listed.stat.Mzxid))
	}
	return out, nil
}

// isKey says whether a child may be an entry.
func isKey(child string) bool {
	_, claim := parseNode(child)
	_, key := unescapeKey(child)
	return !claim && key && child != keep
}

// list is the map's children; none where it has no node. Then the revision is that of
// the nearest node above, whose child has gone.
func (r *reader) list(ctx context.Context) (children, error) {
	conn := r.s.e.conn
	return ask(ctx, r.s.e, func() (all children, err error) {
		for {
			if r.watch {
				all, err = conn.childrenW(r.dir)
			} else {
				all, err = conn.children(r.dir)
			}
			if err == nil && len(all.names) > 2*maxKeys {
				return all, tooMany(r.m, len(all.names))
			}
			if !errors.Is(err, zk.ErrNoNode) {
				return all, explain(err)
			}
			var stat *zk.Stat
			if r.watch { // for its coming
				if stat, err = conn.existsW(r.dir); err != nil || stat != nil {
					if err != nil {
						return all, explain(err)
					}
					continue
				}
			}
			return r.above()
		}
	})
}

func (r *reader) above() (children, error) {
	for path := parent(r.dir); ; path = parent(path) {
		stat, err := r.s.e.conn.exists(path)
		if err != nil {
			return children{}, explain(err)
		}
		if stat != nil {
			return children{stat: zk.Stat{Pzxid: stat.Pzxid}}, nil
		}
		if path == "/" {
			return children{}, nil
		}
	}
}

// load reads children, each with a watch for what comes next.
func (r *reader) load(ctx context.Context, todo []string) ([]state, error) {
	conn := r.s.e.conn
	for _, child := range todo {
		r.listen(child)
	}
	states := make([]state, len(todo))
	_, err := ask(ctx, r.s.e, func() (struct{}, error) {
		return struct{}{}, eachParallel(len(todo), func(i int) (err error) {
			path := r.path(todo[i])
			states[i].child = todo[i]
			if r.watch {
				states[i].node, err = conn.getW(path)
			} else {
				states[i].node, err = conn.get(path)
			}
			if errors.Is(err, zk.ErrNoNode) {
				states[i].gone, err = true, nil
			}
			return explain(err)
		})
	})
	return states, err
}

// note keeps what was read; false: it is no change. A child that has gone is told
// when its parent's list says so (missing), with that revision.
func (r *reader) note(st state) (engine.Entry, bool) {
	old, was := r.entries[st.child]
	switch {
	case st.gone && st.child != "":
		r.unlisten(st.child)
		return engine.Entry{}, false
	case st.gone || !isEntry(st.node):
		if !was {
			return engine.Entry{}, false
		}
		delete(r.entries, st.child)
		at := max(revision(st.node.stat.Mzxid), old.Revision+1)
		r.max = max(r.max, at)
		return engine.Entry{Key: old.Key, Revision: at, Deleted: true}, true
	}
	key := ""
	if st.child != "" {
		key, _ = unescapeKey(st.child)
	}
	e := entryOf(key, st.node)
	r.max = max(r.max, e.Revision)
	if was && old.Revision == e.Revision {
		return e, false
	}
	r.entries[st.child] = e
	return e, true
}

// missing are the entries whose children are not there any more.
func (r *reader) missing(present map[string]bool, at engine.Revision) (out []engine.Entry) {
	for child, e := range r.entries {
		if child == "" || present[child] {
			continue
		}
		delete(r.entries, child)
		r.unlisten(child)
		gone := engine.Entry{Key: e.Key, Revision: max(at, e.Revision+1), Deleted: true}
		r.max = max(r.max, gone.Revision)
		out = append(out, gone)
	}
	return out
}
