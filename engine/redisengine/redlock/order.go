package redlock

import (
	"slices"
	"sync"

	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// order has what is asked about one claim reach each node in the order in which it
// was asked, though each question is a goroutine: the next is sent when the one
// before it was answered, or given up. A nil order is none.
type order struct {
	mu    sync.Mutex
	busy  vote.Set
	queue []turn
}

// turn is one question that waits for others.
type turn struct {
	node int
	come chan struct{}
}

// enter takes a place. nil: it is this one's turn; else its turn has come when the
// channel is closed.
func (o *order) enter(node int) <-chan struct{} {
	if o == nil {
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.busy.Has(node) {
		o.busy = o.busy.With(node)
		return nil
	}
	t := turn{node, make(chan struct{})}
	o.queue = append(o.queue, t)
	return t.come
}

// leave lets the next in. One that gives up before its turn lets in the first that
// waits, itself as a rule.
func (o *order) leave(node int) {
	if o == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	next := slices.IndexFunc(o.queue, func(t turn) bool { return t.node == node })
	if next < 0 {
		o.busy = o.busy.Without(node)
		return
	}
	close(o.queue[next].come)
	o.queue = slices.Delete(o.queue, next, next+1)
}
