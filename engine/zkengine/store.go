package zkengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// A map is the node of its name, an entry a child of it with the value as its data,
// verbatim, and the empty key the node's own data: zkCli and Curator's caches read
// them. An entry's revision is its mzxid.
//
// Not every child is an entry. A claim's node is none (parseNode), nor is one that
// ends with a session, nor one that is there only for what lies below it. Those are
// made with empty data, and never written; so an entry with an empty value is written
// once more after it is made, and one that was deleted but has nodes below it has no
// data at all (null), which is not the same as empty.
//
// ZooKeeper removes a container when its children are gone, with whatever data it
// has. Where an entry is put into a node that was there before, and may be one, a
// child named .lockstep keeps it.
type store struct {
	e *Engine

	mu      sync.Mutex
	turns   map[string]chan struct{} // commits of one map take turns here
	swept   time.Time                // when commits of the past were last forgotten
	sweeper bool
}

const (
	// maxValue leaves room for the rest of a request in ZooKeeper's default of 1 MiB
	// (jute.maxbuffer).
	maxValue = 1<<20 - 32<<10
	maxOps   = 128
	// maxKeys is the most a map may have.
	maxKeys = 10_000
	keep    = own // a child that keeps a container
	// parallel is how many reads of one call are under way at once.
	parallel = 64
)

func newStore(e *Engine) *store {
	return &store{e: e, turns: make(map[string]chan struct{}), swept: time.Now()}
}

// path of an entry's node.
func (s *store) path(m, key string) string {
	if key == "" {
		return s.e.paths.of(m)
	}
	return s.e.paths.of(m) + "/" + escapeKey(key)
}

// isEntry says whether a node holds a value.
func isEntry(n node) bool {
	return n.stat.EphemeralOwner == 0 && n.data != nil && (len(n.data) > 0 || n.stat.Version > 0)
}

// entryOf is the entry of a node that is one.
func entryOf(key string, n node) engine.Entry {
	return engine.Entry{Key: key, Value: n.data, Revision: revision(n.stat.Mzxid)}
}

func revision(zxid int64) engine.Revision { return engine.Revision(zxid) }

// Get is one entry, no older than what any commit before the call has returned.
func (s *store) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	path := s.path(m, key)
	n, err := ask(ctx, s.e, func() (node, error) {
		if err := s.e.conn.latest(); err != nil {
			return node{}, err
		}
		return s.e.conn.get(path)
	})
	if errors.Is(err, zk.ErrNoNode) || err == nil && !isEntry(n) {
		err = fmt.Errorf("key %q of map %q: %w", key, m, engine.ErrNotFound)
	}
	if err != nil {
		return engine.Entry{}, err
	}
	return entryOf(key, n), nil
}

// List reads the entries one by one: one may be newer than the list's revision. That
// is no less than what any commit before the call has returned, also one that
// changed nothing and left a mark only.
func (s *store) List(ctx context.Context, m string) (engine.Event, error) {
	log := s.log(m)
	stat, err := ask(ctx, s.e, func() (*zk.Stat, error) {
		if err := s.e.conn.latest(); err != nil {
			return nil, err
		}
		return s.e.conn.exists(log)
	})
	if err != nil {
		return engine.Event{}, err
	}
	r := newReader(s, m, false)
	defer r.close()
	ev, err := r.full(ctx)
	if stat != nil {
		ev.Revision = max(ev.Revision, revision(stat.Mzxid), revision(stat.Pzxid))
	}
	return ev, err
}

// tooMany is the error of a map that was filled by others beyond what can be listed.
func tooMany(m string, n int) error {
	return fmt.Errorf("%w: map %q has %d children, at most %d can be listed: ZooKeeper has no pages", engine.ErrUnusable, m, n, 2*maxKeys)
}

// checkTx refuses what ZooKeeper would refuse with no more than a broken connection.
func checkTx(tx engine.Tx) error {
	if len(tx.If)+len(tx.Put) > maxOps {
		return fmt.Errorf("%w: a commit of %d entries and conditions, the most is %d", engine.ErrInvalid, len(tx.If)+len(tx.Put), maxOps)
	}
	total := 0 // of values; keys are short, and there are few
	for _, e := range tx.Put {
		if len(e.Value) > maxValue {
			return fmt.Errorf("%w: value of %d bytes, the longest is %d", engine.ErrInvalid, len(e.Value), maxValue)
		}
		total += len(e.Value)
	}
	if total > maxValue {
		return fmt.Errorf("%w: a commit of %d bytes, the longest is %d", engine.ErrInvalid, total, maxValue)
	}
	return nil
}

// turn has commits of one map in this process follow each other: they would only
// refuse each other at the server.
func (s *store) turn(ctx context.Context, m string) (end func(), err error) {
	for {
		s.mu.Lock()
		busy := s.turns[m]
		if busy == nil {
			done := make(chan struct{})
			s.turns[m] = done
			s.mu.Unlock()
			return func() {
				s.mu.Lock()
				delete(s.turns, m)
				s.mu.Unlock()
				close(done)
			}, nil
		}
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-s.e.ctx.Done():
			return nil, engine.ErrClosed
		}
	}
}

// eachParallel calls f for 0 … n-1, some at a time, and returns the first error.
func eachParallel(n int, f func(i int) error) error {
	var all sync.WaitGroup
	var mu sync.Mutex
	var first error
	next := 0
	work := func() {
		for {
			mu.Lock()
			i := next
			next++
			stop := first != nil || i >= n
			mu.Unlock()
			if stop {
				return
			}
			if err := f(i); err != nil {
				mu.Lock()
				first = errors.Join(first, err)
				mu.Unlock()
			}
		}
	}
	for range min(n, parallel) - 1 {
		all.Go(work)
	}
	work()
	all.Wait()
	return first
}

// sorted puts entries in byte order of their keys.
func sorted(entries []engine.Entry) []engine.Entry {
	slices.SortFunc(entries, func(a, b engine.Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries
}
