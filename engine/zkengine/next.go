package zkengine

import (
	"time"

	"github.com/go-zookeeper/zk"
)

// Whoever waits for the only claim ahead of it is the next from then on: who comes
// later has a higher number. When that claim's nodes have gone it is granted, and asks
// nobody. Its own node is watched over the same connection, where events come in the
// order of the transactions: had it gone before, that would have been told before (S5).
// What may have happened since is what may happen to any holder, who believes in its
// claim for as long as its session is proven; so it must be.
//
// One transaction may end both: that of the end of a session that they share, whose
// events come in no order. Who waits for a claim of its own session asks.

// next is what a waiter that is the next in line waits for.
type next struct {
	link     *link           // over which all of it is watched
	standing map[string]bool // nodes of the claim ahead that have not gone
}

// expect has w be woken when all these nodes have gone, and not before.
func (w *waiter) expect(l *link, nodes []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = &next{link: l, standing: make(map[string]bool)}
	for _, path := range nodes {
		w.next.standing[path] = true
	}
}

func (w *waiter) expectNothing() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.next = nil
}

// left notes that a node has gone, and says whether others of its claim stand.
func (n *next) left(ev zk.Event) (others bool) {
	if n == nil || !n.standing[ev.Path] || ev.Type != zk.EventNodeDeleted {
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
