package lockstep

import (
	"context"
	"sync/atomic"
)

// The list carries batches from an upstream to its watchers. It is a chain of
// nodes: the last one is empty, and everybody who has seen all others waits for
// it. Publishing fills it, puts a new empty one behind it and closes its channel,
// which wakes all of them at once, whatever their number. A watcher has no queue,
// only its place in the chain; what nobody has yet to see is garbage.
//
// So a watcher that does not go on would keep all that follows its place. Where
// it lags too far, the nodes from its place to the end are merged into one, which
// says of each key that differs what it is now: what it then keeps is bounded by
// the map as it saw it last and as it is now.

// How far a watcher may lag; both are looked at when a quarter of it has been
// published anew.
const (
	maxLagEvents = 1024
	maxLagBytes  = 8 << 20
	deltaBytes   = 100 // of a delta, beside its key and value
)

// kind is how a batch came about.
type kind uint8

const (
	commit   kind = iota // one commit of somebody's
	snapshot             // the map as a watcher meets it
	resync               // a difference; changes in between are missing
)

// batch is what leads from one state of a map to another. It is never changed
// once it is published, nor are its values.
type batch struct {
	kind     kind
	revision Revision // of the map after it
	deltas   []delta  // each key once
}

// delta is an entry as it is after a batch, and whether there was one before:
// what did not exist before and does not after needs no telling.
type delta struct {
	Entry

	existed bool
}

// node is one place in the list.
type node struct {
	filled chan struct{} // closed when batch and next, or err, are set for good
	batch  *batch
	next   *node
	err    error // the list ends here
	at     position
}

// position is how much had been published before a node.
type position struct{ events, bytes int64 }

func (p position) after(b *batch) position {
	p.events++
	for _, d := range b.deltas {
		p.bytes += int64(deltaBytes + len(d.Key) + len(d.Value))
	}
	return p
}

// reached: at least so much was published since earlier.
func (p position) reached(earlier position, events, bytes int64) bool {
	return p.events-earlier.events >= events || p.bytes-earlier.bytes >= bytes
}

// list is guarded by its upstream's lock; watchers walk along it without.
type list struct {
	last     *node // not filled
	watchers map[*subscription]struct{}
	looked   position // where merge was last tried
}

func newList() list {
	return list{last: &node{filled: make(chan struct{})}, watchers: map[*subscription]struct{}{}}
}

func (l *list) publish(b *batch) {
	n := l.last
	l.last = &node{filled: make(chan struct{}), at: n.at.after(b)}
	n.batch, n.next = b, l.last
	close(n.filled)
	if l.last.at.reached(l.looked, maxLagEvents/4, maxLagBytes/4) {
		l.looked = l.last.at
		l.mergeLaggards()
	}
}

// end is for whoever has seen everything; nothing is published after it.
func (l *list) end(err error) {
	l.last.err = err
	close(l.last.filled)
}

// subscription is a watcher's place in the list.
type subscription struct {
	u     *upstream
	place atomic.Pointer[node]
}

// subscribe makes a watcher that sees first (nil: nothing) and then what is
// published from now on.
func (l *list) subscribe(u *upstream, first *batch) *subscription {
	s := &subscription{u: u}
	if first == nil {
		s.place.Store(l.last)
	} else {
		s.place.Store(l.before(first))
	}
	l.watchers[s] = struct{}{}
	return s
}

// before is a node of its own in front of the last one.
func (l *list) before(b *batch) *node {
	n := &node{filled: make(chan struct{}), batch: b, next: l.last, at: l.last.at}
	close(n.filled)
	return n
}

// leave ends the watcher; what it had yet to see is forgotten.
func (s *subscription) leave() {
	s.u.mu.Lock()
	delete(s.u.list.watchers, s)
	s.u.mu.Unlock()
	s.u.c.drop(s.u)
}

// next waits for the next batch. The end of ctx or of the client comes before
// what is pending.
func (s *subscription) next(ctx context.Context) (*batch, error) {
	for {
		n := s.place.Load()
		select {
		case <-n.filled:
		case <-ctx.Done():
		}
		switch {
		case ctx.Err() != nil:
			return nil, ended(ctx)
		case s.u.c.ctx.Err() != nil:
			return nil, ErrClosed
		case n.err != nil:
			return nil, n.err
		}
		// A place that was merged meanwhile is read anew, or n were seen twice.
		if s.place.CompareAndSwap(n, n.next) {
			return n.batch, nil
		}
	}
}

// mergeLaggards bounds what watchers keep. Those at one place share the merged
// node.
func (l *list) mergeLaggards() {
	merged := map[*node]*node{}
	for s := range l.watchers {
		n := s.place.Load()
		if !l.last.at.reached(n.at, maxLagEvents, maxLagBytes) {
			continue
		}
		if merged[n] == nil {
			merged[n] = l.before(l.merge(n))
		}
		s.place.CompareAndSwap(n, merged[n]) // else it has just gone on
	}
}

// merge is one batch for all from a node to the end: the last state of every
// key. A snapshot that was not seen yet stays one, of a later state.
func (l *list) merge(from *node) *batch {
	b := &batch{kind: resync}
	if from.batch.kind == snapshot {
		b.kind = snapshot
	}
	last := map[string]delta{}
	for n := from; n != l.last; n = n.next {
		b.revision = n.batch.revision
		for _, d := range n.batch.deltas {
			if earlier, ok := last[d.Key]; ok {
				d.existed = earlier.existed
			}
			if d.Deleted && !d.existed {
				delete(last, d.Key)
			} else {
				last[d.Key] = d
			}
		}
	}
	for _, d := range last {
		b.deltas = append(b.deltas, d)
	}
	b.sort()
	return b
}
