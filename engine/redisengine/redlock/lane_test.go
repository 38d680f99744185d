package redlock

import (
	"context"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
)

// While a slow node has yet to answer one acquire, the majority goes through a release
// and the next acquire. It is sent both together when it answered, and votes as the
// others did.
func TestASlowNodeIsAskedWhatTheMajorityWasInThatOrder(t *testing.T) {
	t.Parallel()
	nodes := start(t, 3)
	proxies := behind(t, nodes)
	e := openAt(t, proxied(proxies), young)
	sent := &pipelines{Transport: e.nodes[2].t}
	e.nodes[2].t = sent
	c := clientOn(t, e, ttl)
	slow := proxies[2].Hold(faultnet.Contains(theScripts.acquire.SHA))
	first, second := mutex("n"), mutex("n")
	a := c.take(first)
	c.give(first)
	b := c.take(second)
	slow.Release()
	await(t, "all votes for the second claim", func() bool { return votesOf(t, nodes, second) == 3 })
	if b.Token <= a.Token {
		t.Errorf("token %d after %d", b.Token, a.Token)
	}
	if most := sent.longest.Load(); most != 2 {
		t.Errorf("%d questions were sent at once, want the release with the acquire behind it", most)
	}
}

func TestALaneIsFreeWhenNobodyWaitsInIt(t *testing.T) {
	t.Parallel()
	var l lanes
	on := func(name string) *question { return &question{name: name} }
	first, gone, third := on("n"), on("n"), on("n")
	if !l.enter(first) || l.enter(gone) || l.enter(third) || !l.enter(on("other")) {
		t.Fatal("one is sent at a time, of each name")
	}
	l.leave(gone)
	if behind := l.next("n"); len(behind) != 1 || behind[0] != third {
		t.Errorf("behind the first come %v, want the third: the second has left", behind)
	}
	if l.enter(on("n")) {
		t.Error("one was sent beside the third")
	}
	if behind := l.next("n"); len(behind) != 1 {
		t.Errorf("behind the third come %v", behind)
	}
	if behind := l.next("n"); behind != nil || !l.enter(on("n")) {
		t.Error("nobody waits, and the lane is not free")
	}
}

// forgetful forgets its scripts behind the first command of each pipeline.
type forgetful struct {
	redisengine.Transport
	forget func()
}

func (f *forgetful) Do(ctx context.Context, commands ...redisengine.Command) []redisengine.Result {
	if f.forget == nil || len(commands) == 1 {
		return f.Transport.Do(ctx, commands...)
	}
	results := f.Transport.Do(ctx, commands[0])
	f.forget()
	f.forget = nil
	return append(results, f.Transport.Do(ctx, commands[1:]...)...)
}

// A node forgets its scripts in the middle of a pipeline: what it had done it is not
// asked for again, as its second answer would be another.
func TestWhatANodeHasDoneItIsNotAskedForAgain(t *testing.T) {
	t.Parallel()
	nodes := start(t, 1)
	c := newClient(t, nodes)
	held := mutex("n")
	c.take(held)
	n := c.e.nodes[0]
	f := &forgetful{n.t, func() { nodes[0].MustDo(t, "SCRIPT", "FLUSH") }}
	n.t = f
	results, err := n.run(guarded(t),
		call{theScripts.release, nameKeys("n"), []string{string(held.ID), everyAttempt, giveBack}}.command(),
		call{theScripts.look, nameKeys("n"), nil}.command())
	if err != nil || len(results) != 2 || results[1].Err != nil {
		t.Fatalf("%+v, %v", results, err)
	}
	if results[0].Value != int64(1) {
		t.Errorf("the release says %v, and there was such a claim", results[0].Value)
	}
}

// held keeps one script from a node until it is let go, and nothing else.
type held struct {
	redisengine.Transport
	sha        string
	once       sync.Once
	came, free chan struct{}
}

func (h *held) Do(ctx context.Context, commands ...redisengine.Command) []redisengine.Result {
	if commands[0].Args[1] == h.sha {
		h.once.Do(func() { close(h.came) })
		<-h.free
	}
	return h.Transport.Do(ctx, commands...)
}

// A renewal has a node take a claim again; the claim is released before that node
// was asked. It does not take what nobody holds.
func TestAReleaseComesBehindWhatTakesTheClaimAgain(t *testing.T) {
	t.Parallel()
	nodes := start(t, 3)
	c := newClient(t, nodes)
	cl := mutex("n")
	c.take(cl)
	await(t, "all votes", func() bool { return votesOf(t, nodes, cl) == 3 })
	nodes[2].MustDo(t, "DEL", "n")
	late := &held{Transport: c.e.nodes[2].t, sha: theScripts.rejoin.SHA, came: make(chan struct{}), free: make(chan struct{})}
	c.e.nodes[2].t = late
	await(t, "a renewal that three nodes answered", func() bool {
		c.renew(cl)
		select {
		case <-late.came:
			return true
		default:
			return false
		}
	})
	c.give(cl)
	close(late.free)
	await(t, "all that was asked to be answered", func() bool { return c.e.nodes[2].idle() })
	if n := votesOf(t, nodes, cl); n > 0 {
		t.Errorf("%d nodes keep a claim that was released", n)
	}
}

// idle says whether nothing is on its way to the node.
func (n *node) idle() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.pending == 0
}
