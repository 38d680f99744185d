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
	results []redisengine.Result // as many as commands
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

// perNode is what each node is asked.
type perNode func(node int) []redisengine.Command

// ask asks some nodes at once, and returns at once. What is about a name is asked of each
// node in the order in which it was asked here (lane.go). Each node answers once, but one
// that was left out and is tried again: it is answered for first, so that nobody
// waits for it, and may answer itself later.
//
// What was asked goes on when its caller has left: it is bounded by timeout, and
// Close waits for it.
func (e *Engine) ask(to vote.Set, timeout time.Duration, name string, commands perNode) <-chan answer {
	answers := make(chan answer, 2*len(e.nodes))
	e.askInto(answers, to, timeout, name, commands)
	return answers
}

// tidy asks for what takes something back, also of nodes that are left out.
func (e *Engine) tidy(to vote.Set, timeout time.Duration, name string, commands perNode) <-chan answer {
	answers := make(chan answer, 2*len(e.nodes))
	e.send(answers, to, timeout, name, commands, how{tidies: true})
	return answers
}

// askInto is ask where the answers have somewhere to go: room for two of each node.
func (e *Engine) askInto(answers chan<- answer, to vote.Set, timeout time.Duration, name string, commands perNode) {
	e.send(answers, to, timeout, name, commands, how{})
}

// how something is asked.
type how struct {
	tidies  bool // it takes something back
	patient bool // nobody is left out
}

func (e *Engine) send(answers chan<- answer, to vote.Set, timeout time.Duration, name string, commands perNode, h how) {
	until := time.Now().Add(timeout)
	ctx, cancel := context.WithDeadline(e.ctx, until)
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
		q := &question{name: name, commands: commands(i), until: until}
		first := n.lanes.enter(q)
		if !e.aside(func() {
			a, behind := n.askedFor(ctx, q, first)
			a.node = i
			answers <- a
			done()
			n.carryOn(e.ctx, behind)
		}) {
			answers <- answer{node: i, err: context.Canceled} // whoever waits behind it hears that the engine is closed
			done()
		}
	}
	done()
}

// askedFor is the node's answer, and who waits behind it to be carried on.
func (n *node) askedFor(ctx context.Context, q *question, first bool) (a answer, behind []*question) {
	if first {
		a, behind = n.carry(ctx, q)
	} else {
		a = n.wait(ctx, q)
	}
	n.heed(worst(a.results, a.err))
	return a, behind
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
func one(c call) perNode { return same([]redisengine.Command{c.command()}) }

// same is one question to every node.
func same(commands []redisengine.Command) perNode {
	return func(int) []redisengine.Command { return commands }
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
