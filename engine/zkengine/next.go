package zkengine

import (
	"time"

	"github.com/go-zookeeper/zk"
)

// Whoever waits is told by its predecessor's nodes that its turn has come, where it can
// be, and then asks nobody. Who comes later has a higher number, so nobody is ahead once
// the predecessor held, or was the only one ahead, and has gone.
//
//   - Of the only claim ahead all nodes have gone, in whatever way.
//   - Of any other, that it held: a release writes the second node of a pair between its
//     two deletions (endNodes). The first has gone and then the second was written:
//     nothing else brings these two events in this order, neither a note, which wants
//     both nodes, nor a removal, nor the end of a session.
//
// The waiter's own node is watched over the same connection, where events come in the
// order of the transactions: had it gone before, that would have been told before (S5).
// What may have happened since is what may happen to any holder, who believes in its
// claim for as long as its session is proven; so it must be.
//
// One transaction may end both: that of the end of a session that they share, whose
// events come in no order. Who waits for the only claim ahead, of its own session, asks.

// next is what a waiter waits for that asks nothing when it is woken.
type next struct {
	link     *link           // over which all of it is watched
	standing map[string]bool // nodes of the claim ahead of which the awaited is not told
	written  string          // the one that a release writes; "": all are to go
}

// expect has w be woken when these nodes have told that its turn has come, or something
// else, and not before.
func (w *waiter) expect(n *next, paths []string) {
	n.standing = make(map[string]bool, len(paths))
	for _, path := range paths {
		n.standing[path] = true
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = n
}

func (w *waiter) expectNothing() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = nil
}

// told notes an event, and says whether there is more to come.
func (n *next) told(ev zk.Event) (more bool) {
	if n == nil || !n.standing[ev.Path] {
		return false
	}
	awaited := ev.Type == zk.EventNodeDeleted
	if ev.Path == n.written {
		awaited = ev.Type == zk.EventNodeDataChanged && len(n.standing) == 1
	}
	if !awaited {
		return false
	}
	delete(n.standing, ev.Path)
	return len(n.standing) > 0
}

// came is the link over which w was told that its turn has come; nil: it was not.
func (w *waiter) came() *link {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.next == nil || len(w.next.standing) > 0 {
		return nil
	}
	return w.next.link
}

// passed says whether what w was told proves that the claim is granted.
func (s *Session) passed(p *place, w *waiter) bool {
	l := w.came()
	_, now := s.c.tap.now()
	return l != nil && l == now && s.armedOver(p) == l.n && s.proven()
}

// proven: ZooKeeper has not let the session run out yet. The core knows that too, and of
// suspended time as well, and believes in no grant that comes later.
func (s *Session) proven() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Since(s.proofs.last) < s.ttl*9/10
}
