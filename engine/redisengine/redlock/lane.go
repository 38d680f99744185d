package redlock

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine/redisengine"
)

// lanes has what is asked about one name reach a node in the order in which it was asked,
// though each question is a goroutine: a release must not overtake the acquire that it
// ends, nor the next acquire that release. While one question is on its way those
// behind it wait, and are then sent in one pipeline. So a node that is slower than the
// majority is asked less often, for more; and votes as the others do, where it
// would refuse a claim whose forerunner's release is still to come.
type lanes struct {
	mu      sync.Mutex
	waiting map[string][]*question // by names of which something is on its way
}

// question is some commands to one node. What it is about has a name, or none where
// order does not matter.
type question struct {
	name     string
	commands []redisengine.Command
	until    time.Time   // when whoever asks has given up
	heard    chan answer // where it waits behind others: from whoever sent it
}

// enter takes a place. true: it is sent at once, and next is called after it;
// false: whoever is before it sends it.
func (l *lanes) enter(q *question) bool {
	if q.name == "" {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	behind, busy := l.waiting[q.name]
	if busy {
		q.heard = make(chan answer, 1)
		behind = append(behind, q)
	} else if l.waiting == nil {
		l.waiting = make(map[string][]*question)
	}
	l.waiting[q.name] = behind
	return !busy
}

// next are those that waited, for the caller to send; none: the lane is free.
func (l *lanes) next(name string) []*question {
	if name == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	behind := l.waiting[name]
	if len(behind) == 0 {
		delete(l.waiting, name)
		return nil
	}
	l.waiting[name] = nil
	return behind
}

// leave gives up a place, unless it has been sent.
func (l *lanes) leave(q *question) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if behind, busy := l.waiting[q.name]; busy {
		l.waiting[q.name] = slices.DeleteFunc(behind, func(other *question) bool { return other == q })
	}
}

// wait is for the answer to a question that somebody else sends.
func (n *node) wait(ctx context.Context, q *question) answer {
	select {
	case a := <-q.heard:
		return a
	case <-ctx.Done():
		n.lanes.leave(q)
		return answer{err: ctx.Err()}
	}
}

// carry sends questions about one name in one pipeline, and returns the answer to the first
// and who waits behind them. The others are told.
func (n *node) carry(ctx context.Context, batch ...*question) (first answer, behind []*question) {
	commands := batch[0].commands
	for _, q := range batch[1:] {
		commands = append(slices.Clip(commands), q.commands...)
	}
	results, err := n.run(ctx, commands...)
	behind = n.lanes.next(batch[0].name)
	for i, q := range batch {
		a := answer{err: err}
		if err == nil {
			a.results, results = results[:len(q.commands)], results[len(q.commands):]
		}
		if i == 0 {
			first = a
		} else {
			q.heard <- a
		}
	}
	return first, behind
}

// carryOn sends who waits, and who came to wait meanwhile, until nobody does.
func (n *node) carryOn(ctx context.Context, behind []*question) {
	for len(behind) > 0 {
		last := slices.MaxFunc(behind, func(a, b *question) int { return a.until.Compare(b.until) })
		ctx, cancel := context.WithDeadline(ctx, last.until)
		first, more := n.carry(ctx, behind...)
		cancel()
		behind[0].heard <- first
		behind = more
	}
}
