package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

// gate is an engine whose transactions are held, once it is shut, until it is opened.
type gate struct {
	*Engine

	shut atomic.Bool
	open chan struct{}
	sent atomic.Int64 // transactions that came to it
}

func newGate(t *testing.T, s *etcdtest.Member) *gate {
	t.Helper()
	g := &gate{open: make(chan struct{})}
	g.Engine = intercepted(t, s, func(ctx context.Context, method string, next func(context.Context) error) error {
		if strings.HasSuffix(method, "/Txn") {
			g.sent.Add(1)
			if g.shut.Load() {
				select {
				case <-g.open:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
		return next(ctx)
	})
	return g
}

// fullGate is one that is shut, with as many steps of the first session's under way as may
// be at once; what comes then waits for as long as the test likes.
func fullGate(t *testing.T) (g *gate, c, other *client, flying []*queued) {
	t.Helper()
	g = newGate(t, start(t))
	g.steps.delay = time.Hour
	c, other = begin(t, g.Engine, engine.SessionOptions{}), begin(t, g.Engine, engine.SessionOptions{})
	g.shut.Store(true)
	return g, c, other, g.fill(c)
}

// fill begins as many claims as may be under way at once, and waits until they are.
func (g *gate) fill(c *client) (all []*queued) {
	c.t.Helper()
	before := g.sent.Load()
	for i := range stepsAtOnce {
		all = append(all, c.acquire(mutex(fmt.Sprint("flying", i))))
	}
	await(c.t, "as many steps as may be at once", func() bool { return g.sent.Load()-before == stepsAtOnce })
	return all
}

// acquire is an Acquire in the background.
func (c *client) acquire(cl *engine.Claim) *queued {
	q := &queued{t: c.t, claim: cl, done: make(chan struct{})}
	go func() {
		defer close(q.done)
		q.grant, q.err = c.Acquire(c.ctx, cl, false)
	}()
	c.t.Cleanup(func() { <-q.done })
	return q
}

func (g *gate) waits(t *testing.T, n int) {
	t.Helper()
	await(t, "steps to wait", func() bool {
		g.steps.mu.Lock()
		defer g.steps.mu.Unlock()
		return len(g.steps.waiting) == n
	})
}

// Steps of many names go together where many are under way; of one name one after the
// other, since they are told apart by revisions.
func TestStepsOfManyNamesGoTogetherAndThoseOfOneDoNot(t *testing.T) {
	t.Parallel()
	g, c, other, flying := fullGate(t)
	var together []*queued
	for i := range 10 {
		together = append(together, c.acquire(mutex(fmt.Sprint("n", i))))
	}
	g.waits(t, len(together))
	second := other.acquire(mutex("n0"))
	g.waits(t, len(together)+1)
	before := g.sent.Load()
	g.shut.Store(false)
	close(g.open)
	for _, q := range append(flying, together[1:]...) {
		q.granted()
	}
	first, by, then := together[0], c, second
	select {
	case <-first.done:
	case <-second.done:
		first, by, then = second, other, first
	}
	await(t, "the other one of the name to wait", func() bool { return len(c.busy())+len(other.busy()) == 0 })
	if n := g.sent.Load() - before; n != 2 {
		t.Errorf("%d transactions for 10 names and one of them again, want 2", n)
	}
	r, err := c.e.client.Get(c.ctx, "n0/", clientv3.WithPrefix())
	if err != nil || len(r.Kvs) != 2 || r.Kvs[0].GetCreateRevision() == r.Kvs[1].GetCreateRevision() {
		t.Errorf("two claims of one name: %v, %v, want two revisions", r, err)
	}
	by.give(first.claim)
	if got := then.granted().Token; got <= first.grant.Token {
		t.Errorf("token %d after %d (S2)", got, first.grant.Token)
	}
	for _, q := range together[1:] {
		holds(t, c, q.claim)
	}
}

// What etcd refuses of one step, it refuses of all that go with it. The others go again.
func TestAStepThatIsRefusedRefusesNoOther(t *testing.T) {
	t.Parallel()
	g, c, ended, flying := fullGate(t)
	// Its lease is gone, and this process does not know it: as one that was stopped.
	refused := &client{&Session{
		e: g.Engine, lease: ended.lease + 1, hex: leaseText(int64(ended.lease) + 1), key: g.sessionKey("none"), ttl: ended.ttl,
		ctx: ended.Session.ctx, cancel: ended.cancel, seats: &seats{}, waiting: map[engine.ClaimID][]*waiting{},
	}, t, ended.ctx}
	goes, not := c.acquire(mutex("goes")), refused.acquire(mutex("not"))
	g.waits(t, 2)
	g.shut.Store(false)
	close(g.open)
	for _, q := range append(flying, goes) {
		q.granted()
	}
	if <-not.done; !errors.Is(not.err, engine.ErrSessionEnded) {
		t.Errorf("a claim of a lease that is gone: %+v, %v", not.grant, not.err)
	}
}

// Those under way may be with a member that stands still: nobody waits for them longer
// than a moment.
func TestAStepWaitsForNoneThatIsNotAnswered(t *testing.T) {
	t.Parallel()
	g := newGate(t, start(t))
	c := begin(t, g.Engine, engine.SessionOptions{})
	var once sync.Once
	t.Cleanup(func() { once.Do(func() { close(g.open) }) })
	g.shut.Store(true)
	flying := g.fill(c)
	g.shut.Store(false)
	c.take(mutex("n"))
	once.Do(func() { close(g.open) })
	for _, q := range flying {
		q.granted()
	}
}

// A step whose caller leaves before it was sent is not sent any more; one that waits when
// the engine is closed is told.
func TestAStepThatWaitsEndsWithItsContextAndWithClose(t *testing.T) {
	t.Parallel()
	g, c, _, flying := fullGate(t)
	ctx, leave := context.WithCancel(c.ctx)
	gaveUp := make(chan error, 1)
	go func() { _, err := c.Acquire(ctx, mutex("leaves"), false); gaveUp <- err }()
	g.waits(t, 1)
	leave()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("who left: %v", err)
	}
	g.waits(t, 0)
	stays := c.acquire(mutex("stays"))
	g.waits(t, 1)
	g.Close()
	for _, q := range append(flying, stays) {
		if <-q.done; !errors.Is(q.err, engine.ErrClosed) {
			t.Errorf("%q after Close: %+v, %v", q.claim.Name, q.grant, q.err)
		}
	}
	if n := g.sent.Load(); n > stepsAtOnce+2 { // two sessions' keys, at most
		t.Errorf("%d transactions, more than were under way", n)
	}
}
