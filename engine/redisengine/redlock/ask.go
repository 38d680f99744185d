package redlock

import (
	"context"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// answer is what one node said.
type answer struct {
	node    int
	results []redisengine.Result // as many as calls
	err     error                // of the whole; a script's own is in its result
	more    bool                 // it was answered for, and will answer itself
}

// first is the answer to a single call.
func (a answer) first() (any, error) {
	if a.err != nil {
		return nil, a.err
	}
	return a.results[0].Value, a.results[0].Err
}

// ask asks some nodes at once, and returns at once. What has an order is asked of each
// node in that order: a release must not overtake the acquire that it ends. Each node answers once, but one
// that was left out and is tried again: it is answered for first, so that nobody
// waits for it, and may answer itself later.
//
// What was asked goes on when its caller has left: it is bounded by timeout, and
// Close waits for it.
func (e *Engine) ask(to vote.Set, timeout time.Duration, o *order, calls func(node int) []call) <-chan answer {
	answers := make(chan answer, 2*len(e.nodes))
	e.askInto(answers, to, timeout, o, calls)
	return answers
}

// tidy asks for what takes something back, also of nodes that are left out.
func (e *Engine) tidy(to vote.Set, timeout time.Duration, o *order, calls func(node int) []call) <-chan answer {
	answers := make(chan answer, 2*len(e.nodes))
	e.send(answers, to, timeout, o, calls, how{tidies: true})
	return answers
}

// askInto is ask where the answers have somewhere to go: room for two of each node.
func (e *Engine) askInto(answers chan<- answer, to vote.Set, timeout time.Duration, o *order, calls func(node int) []call) {
	e.send(answers, to, timeout, o, calls, how{})
}

// how something is asked.
type how struct {
	tidies  bool // it takes something back
	patient bool // nobody is left out
}

func (e *Engine) send(answers chan<- answer, to vote.Set, timeout time.Duration, o *order, calls func(node int) []call, h how) {
	ctx, cancel := context.WithTimeout(e.ctx, timeout)
	var left atomic.Int32
	left.Store(int32(to.Len()) + 1)
	done := func() {
		if left.Add(-1) == 0 {
			cancel()
		}
	}
	others := !h.patient && e.majorityWell()
	for _, i := range e.order() {
		if !to.Has(i) {
			continue
		}
		n := e.nodes[i]
		if err := n.admit(others, h.tidies); err != nil {
			answers <- answer{node: i, err: err}
			done()
			continue
		}
		if why := n.suspicion(); others && why != nil {
			answers <- answer{node: i, err: why, more: true}
		}
		question, turn := calls(i), o.enter(i)
		if !e.aside(func() {
			defer done()
			defer o.leave(i)
			answers <- e.askNode(ctx, i, turn, question)
		}) {
			o.leave(i)
			answers <- answer{node: i, err: context.Canceled}
			done()
		}
	}
	done()
}

func (e *Engine) askNode(ctx context.Context, i int, turn <-chan struct{}, question []call) answer {
	n := e.nodes[i]
	if turn != nil {
		select {
		case <-turn:
		case <-ctx.Done():
			n.heed(ctx.Err())
			return answer{node: i, err: ctx.Err()}
		}
	}
	results, err := n.run(ctx, question...)
	n.heed(worst(results, err))
	return answer{node: i, results: results, err: err}
}

// worst is an error that says that the server did not answer, if there is one.
func worst(results []redisengine.Result, err error) error {
	if err != nil {
		return err
	}
	for _, r := range results {
		if r.Err != nil && redisengine.Code(r.Err) == "" {
			return r.Err
		}
	}
	return nil
}

// order is in which order nodes are asked: as they were given, so that two who ask
// at one time tend to meet at the first, and only one gets on; or any, so that no
// node is always the first.
func (e *Engine) order() []int {
	if e.opts.shuffle {
		return rand.Perm(len(e.nodes))
	}
	return e.inOrder
}

// majorityWell says whether a majority answered what they were asked last.
func (e *Engine) majorityWell() bool {
	well := 0
	for _, n := range e.nodes {
		if n.suspicion() == nil {
			well++
		}
	}
	return well >= vote.Majority(len(e.nodes))
}

// aside runs f in a goroutine that Close waits for, unless it has begun.
func (e *Engine) aside(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isClosed {
		return false
	}
	e.asides.Go(f)
	return true
}

// one is a question of one call to every node.
func one(c call) func(int) []call {
	calls := []call{c}
	return func(int) []call { return calls }
}

// gather takes answers of these nodes until enough says so, or every node has answered, or ctx
// ends; it returns ctx's error then. heard is given each.
func (e *Engine) gather(ctx context.Context, answers <-chan answer, to vote.Set, heard func(answer) (enough bool)) error {
	var got vote.Set
	for {
		select {
		case a := <-answers:
			got = got.With(a.node)
			if heard(a) || got == to {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		case <-e.closing:
			return errClosed
		}
	}
}
