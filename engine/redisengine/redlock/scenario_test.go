package redlock

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// Two of five nodes are down: nothing changes but who votes.
func TestALockSurvivesTheLossOfTwoOfFive(t *testing.T) {
	t.Parallel()
	nodes := start(t, 5)
	a, b := newClient(t, nodes), newClient(t, nodes)
	held := mutex("n")
	g := a.take(held)
	await(t, "all votes", func() bool { return votesOf(t, nodes, held) == 5 })
	nodes[0].Pause()
	nodes[1].Kill()
	if r := a.renew(held); len(r.Lost)+len(r.Unsure) > 0 {
		t.Errorf("renewal with two nodes down: %+v", r)
	}
	next := b.queue(mutex("n"))
	a.give(held)
	if got := next.granted(); got.Token <= g.Token {
		t.Errorf("token %d after %d", got.Token, g.Token)
	}
	b.give(next.claim)
	nodes[0].Continue()
}

// Three of five are down: nothing can be asked, which is not the same as held, and
// who holds is sure of nothing.
func TestWithoutAMajorityNothingIsGrantedOrRenewed(t *testing.T) {
	t.Parallel()
	nodes := start(t, 5)
	a, b := newClient(t, nodes), newClient(t, nodes)
	held := mutex("n")
	a.take(held)
	await(t, "all votes", func() bool { return votesOf(t, nodes, held) == 5 })
	for _, n := range nodes[:3] {
		n.Kill()
	}
	for _, cl := range []*engine.Claim{try(mutex("n")), try(mutex("free"))} {
		if _, err := b.Acquire(guarded(t), cl, false); err == nil || engine.Definite(err) {
			t.Errorf("Try of %q with three nodes down: %v, want that nobody could be asked", cl.Name, err)
		}
	}
	if r, err := a.Renew(guarded(t), []*engine.Claim{held}); err == nil {
		t.Errorf("renewal with three nodes down: %+v", r)
	}
	if _, err := b.e.Line(guarded(t), "n"); err == nil {
		t.Error("a line was read from two nodes of five")
	}
	nodes[0].Restart()
	if r := a.renew(held); len(r.Lost) > 0 || len(r.Unsure) != 1 {
		t.Errorf("renewal where two have it, one lost it and two are down: %+v, want that it is unsure", r)
	}
}

// A node is slow, full, read-only, mistyped, talks nonsense or is not there at all:
// two of five may be so, whatever it is.
func TestANodeThatIsUnwellCostsNoMoreThanItsShare(t *testing.T) {
	t.Parallel()
	ills := map[string]func(t *testing.T, n *redistest.Server, p *faultnet.Proxy){
		"slow": func(_ *testing.T, _ *redistest.Server, p *faultnet.Proxy) { p.Delay(time.Hour, 0) },
		"full": func(t *testing.T, n *redistest.Server, _ *faultnet.Proxy) {
			n.MustDo(t, "CONFIG", "SET", "maxmemory", "1")
		},
		"read-only":   func(t *testing.T, n *redistest.Server, _ *faultnet.Proxy) { n.MustDo(t, "REPLICAOF", "127.0.0.1", "1") },
		"mistyped":    func(t *testing.T, n *redistest.Server, _ *faultnet.Proxy) { n.MustDo(t, "LPUSH", "n", "x") },
		"swallowing":  func(_ *testing.T, _ *redistest.Server, p *faultnet.Proxy) { p.Blackhole() },
		"cut off":     func(_ *testing.T, _ *redistest.Server, p *faultnet.Proxy) { p.Refuse(); p.Cut() },
		"loses words": func(_ *testing.T, _ *redistest.Server, p *faultnet.Proxy) { p.DropReplies() },
	}
	for ill, befall := range ills {
		t.Run(ill, func(t *testing.T) {
			t.Parallel()
			nodes := start(t, 5)
			proxies := behind(t, nodes)
			a, b := clientOn(t, openAt(t, proxied(proxies), young), ttl), clientOn(t, openAt(t, proxied(proxies), young), ttl)
			for i := range 2 {
				befall(t, nodes[i], proxies[i])
			}
			last := engine.Token(0)
			for range 3 {
				held := mutex("n")
				g := a.take(held)
				if g.Token <= last {
					t.Errorf("token %d after %d", g.Token, last)
				}
				if r := a.renew(held); len(r.Lost)+len(r.Unsure) > 0 {
					t.Errorf("renewal: %+v", r)
				}
				if _, err := b.Acquire(guarded(t), try(mutex("n")), false); !errors.Is(err, engine.ErrHeld) {
					t.Errorf("Try of what is held: %v", err)
				}
				next := b.queue(mutex("n"))
				a.give(held)
				last = next.granted().Token
				b.give(next.claim)
			}
		})
	}
}

// One that is no Redis at all.
func TestANodeThatTalksNonsenseCostsNoMoreThanItsShare(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	t.Cleanup(func() { listener.Close(); serving.Wait() })
	serving.Go(func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
			})
		}
	})
	nodes := start(t, 4)
	c := clientOn(t, openAt(t, append(addresses(nodes), listener.Addr().String()), young), ttl)
	for range 3 {
		held := mutex("n")
		c.take(held)
		c.give(held)
	}
}

// Each of three has some of the votes, and none a majority: 2, 2 and 1. They give them back, and
// meet again at different times.
func TestSplitVotesMakeProgress(t *testing.T) {
	t.Parallel()
	nodes := start(t, 5)
	first := [][]int{{0, 1}, {2, 3}, {4}} // whose votes each gets
	var clients []*client
	var rules []*faultnet.Rule
	for _, mine := range first {
		proxies := behind(t, nodes)
		for i, p := range proxies {
			if len(mine) > 0 && mine[0] == i {
				mine = mine[1:]
				continue
			}
			rules = append(rules, p.Hold(faultnet.Contains(theScripts.acquire.SHA)))
		}
		clients = append(clients, clientOn(t, openAt(t, proxied(proxies), young), ttl))
	}
	var asking []*queued
	for _, c := range clients {
		asking = append(asking, c.begin(mutex("n")))
	}
	await(t, "votes split 2-2-1", func() bool {
		got := owners(t, nodes, "n")
		for i, mine := range first {
			for _, node := range mine {
				if got[node] != string(asking[i].claim.ID) {
					return false
				}
			}
		}
		return true
	})
	for _, r := range rules {
		r.Release()
	}
	last := engine.Token(0)
	for range clients {
		var holder *queued
		await(t, "one of them to get it", func() bool {
			for _, q := range asking {
				select {
				case <-q.done:
					holder = q
					return true
				default:
				}
			}
			return false
		})
		if g := holder.granted(); g.Token <= last {
			t.Errorf("token %d after %d", g.Token, last)
		} else {
			last = g.Token
		}
		if n := votesOf(t, nodes, holder.claim); n < 3 {
			t.Errorf("the holder has %d votes", n)
		}
		for i, q := range asking {
			if q == holder {
				asking = append(asking[:i:i], asking[i+1:]...)
			}
		}
		holder.c.give(holder.claim)
	}
}

// A quorum that answers only when a grant would be over grants nothing, and what it
// voted is given back.
func TestAQuorumSlowerThanTheTTLGrantsNothing(t *testing.T) {
	t.Parallel()
	const short = time.Second
	nodes := start(t, 5)
	proxies := behind(t, nodes)
	c := clientOn(t, openAt(t, proxied(proxies), young, WithNodeTimeout(hang)), short)
	var holds []*faultnet.Rule
	for _, p := range proxies[:3] {
		p.Delay(0, short)
		holds = append(holds, p.Count(faultnet.Contains(theScripts.acquire.SHA)))
	}
	cl := try(mutex("n"))
	g, err := c.Acquire(guarded(t), cl, false)
	if err == nil || engine.Definite(err) {
		t.Fatalf("granted %+v, %v by a quorum that took the whole TTL", g, err)
	}
	for _, h := range holds {
		if h.Hits() == 0 {
			t.Error("a slow node was not asked")
		}
	}
	await(t, "every vote to be given back or to end", func() bool { return votesOf(t, nodes, cl) == 0 })
}

// A node votes, its answer is lost, and the others refuse only after that was seen: the
// vote is given back all the same, long before its TTL ends.
func TestAVoteWhoseAnswerWasLostBeforeTheAttemptIsGivenBack(t *testing.T) {
	t.Parallel()
	nodes := start(t, 3)
	a, proxies := newClient(t, nodes), behind(t, nodes)
	b := clientOn(t, openAt(t, proxied(proxies), young), ttl)
	held, wanted := mutex("n"), try(mutex("n"))
	a.take(held)
	await(t, "all votes", func() bool { return votesOf(t, nodes, held) == 3 })
	nodes[2].MustDo(t, "DEL", "n")
	acquire := faultnet.Contains(theScripts.acquire.SHA)
	holds := []*faultnet.Rule{proxies[0].Hold(acquire), proxies[1].Hold(acquire)}
	proxies[2].ResetAtReply(acquire)
	asked := b.begin(wanted)
	await(t, "a vote whose answer was lost", func() bool {
		return votesOf(t, nodes, wanted) == 1 && b.e.nodes[2].suspicion() != nil
	})
	for _, h := range holds {
		h.Release()
	}
	<-asked.done
	if !errors.Is(asked.err, engine.ErrHeld) {
		t.Errorf("Try of what two of three hold: %v", asked.err)
	}
	await(t, "the vote to be given back", func() bool { return votesOf(t, nodes, wanted) == 0 })
}

// Not parallel, for it looks at the goroutines of the whole program.
func TestALostAttemptLeavesNothingRunning(t *testing.T) {
	nodes := start(t, 3)
	a, b := newClient(t, nodes), newClient(t, nodes)
	held := mutex("n")
	a.take(held)
	nodes[2].Kill()
	for range 5 {
		if _, err := b.Acquire(guarded(t), try(mutex("n")), false); !errors.Is(err, engine.ErrHeld) {
			t.Errorf("Try of what two of three hold: %v", err)
		}
	}
	stacks := make([]byte, 1<<22)
	await(t, "what was left to do to be done", func() bool {
		return !bytes.Contains(stacks[:runtime.Stack(stacks, true)], []byte("withdrawLater"))
	})
}

// A node comes back empty while a claim is held: the next renewal takes it again, and its
// count is not below the token.
func TestAMinorityNodeThatCameBackEmptyIsTakenAgain(t *testing.T) {
	t.Parallel()
	nodes := start(t, 5)
	a, b := newClient(t, nodes), newClient(t, nodes)
	held := mutex("n")
	g := a.take(held)
	await(t, "all votes", func() bool { return votesOf(t, nodes, held) == 5 })
	for _, n := range nodes[:2] {
		n.Restart()
	}
	if _, err := b.Acquire(guarded(t), try(mutex("n")), false); !errors.Is(err, engine.ErrHeld) {
		t.Errorf("Try with two nodes empty: %v", err)
	}
	await(t, "the nodes to be taken again", func() bool {
		if r := a.renew(held); len(r.Lost)+len(r.Unsure) > 0 {
			t.Fatalf("renewal: %+v", r)
		}
		return votesOf(t, nodes, held) == 5
	})
	for _, n := range nodes[:2] {
		count, _ := n.MustDo(t, "GET", nameKeys("n")[1]).(string)
		if uint64(parseInt(count)) < uint64(g.Token) {
			t.Errorf("the node counts %s, and the token is %d", count, g.Token)
		}
	}
	// Now these two and one more are a majority that knows.
	for _, n := range nodes[2:4] {
		n.Kill()
	}
	if _, err := b.Acquire(guarded(t), try(mutex("n")), false); !errors.Is(err, engine.ErrHeld) {
		t.Errorf("Try where two of the other three are gone: %v", err)
	}
}

// A claim that a majority lost is not brought back, though a minority has it.
func TestRenewalBringsNothingBackFromAMinority(t *testing.T) {
	t.Parallel()
	nodes := start(t, 5)
	a := newClient(t, nodes)
	held := mutex("n")
	a.take(held)
	await(t, "all votes", func() bool { return votesOf(t, nodes, held) == 5 })
	for _, n := range nodes[:3] {
		n.MustDo(t, "DEL", "n")
	}
	if r := a.renew(held); len(r.Lost) != 1 {
		t.Errorf("a renewal after three of five forgot: %+v", r)
	}
	if n := votesOf(t, nodes, held); n != 2 {
		t.Errorf("%d nodes have it after the renewal, want the two that had it", n)
	}
}

// Whatever minority loses its counts, in turns: tokens rise.
func TestANodeThatLostItsCountBringsNoTokenBack(t *testing.T) {
	t.Parallel()
	nodes := start(t, 5)
	c := newClient(t, nodes)
	last := engine.Token(0)
	for i := range 20 {
		held := mutex("n")
		g := c.take(held)
		if g.Token <= last {
			t.Errorf("grant %d: token %d after %d", i, g.Token, last)
		}
		last = g.Token
		c.give(held)
		nodes[i%5].MustDo(t, "DEL", nameKeys("n")[1])
		c.take(held) // a majority counts again, before the next loses its count
		c.give(held)
	}
}

// Nodes count apart: the token is written back, and a majority vouches for it.
func TestATokenThatNodesDoNotAgreeOnIsWrittenBack(t *testing.T) {
	t.Parallel()
	nodes := start(t, 5)
	c := newClient(t, nodes)
	ahead := int64(1 << 52)
	last := engine.Token(0)
	for i, n := range nodes { // each ahead of the one before it
		n.MustDo(t, "SET", nameKeys("n")[1], strconv.FormatInt(ahead+int64(i)*1000, 10))
	}
	for range 5 {
		held := mutex("n")
		g := c.take(held)
		known := 0
		for _, n := range nodes {
			count, _ := n.MustDo(t, "GET", nameKeys("n")[1]).(string)
			if uint64(parseInt(count)) >= uint64(g.Token) {
				known++
			}
		}
		if known < 3 || g.Token <= last {
			t.Errorf("token %d after %d, and %d nodes know it", g.Token, last, known)
		}
		last = g.Token
		c.give(held)
	}
}

// Waiters are told by releases, and nothing else is asked: per hand-over no node
// runs more than a few scripts, however many wait.
func TestAHandOverCostsEachNodeTheSameHoweverManyWait(t *testing.T) {
	t.Parallel()
	const crowd = 20
	nodes := start(t, 5)
	holder := newClient(t, nodes)
	held := mutex("n")
	holder.take(held)
	var waiting []*queued
	c := newClient(t, nodes)
	for range crowd {
		waiting = append(waiting, c.queue(mutex("n")))
	}
	before := nodes[0].ScriptsRun(t)
	holder.give(held)
	for range crowd {
		var next *queued
		await(t, "a hand-over", func() bool {
			for i, q := range waiting {
				select {
				case <-q.done:
					next = q
					waiting = append(waiting[:i:i], waiting[i+1:]...)
					return true
				default:
				}
			}
			return false
		})
		next.granted()
		c.give(next.claim)
	}
	if n := nodes[0].ScriptsRun(t) - before; n > 3*crowd {
		t.Errorf("%d hand-overs cost a node %d scripts, want 3 each at most", crowd, n)
	}
}

// A Lock whose context ends leaves nothing behind.
func TestALockThatIsGivenUpLeavesNothing(t *testing.T) {
	t.Parallel()
	nodes := start(t, 5)
	e := openOn(t, nodes)
	c, err := lockstep.New(e, lockstep.WithTTL(ttl), lockstep.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); e.Close() })
	holder, err := c.Mutex("n").Lock(guarded(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		ctx, cancel := context.WithTimeout(guarded(t), 10*time.Millisecond)
		if _, err := c.Mutex("n").Lock(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Lock: %v", err)
		}
		cancel()
	}
	await(t, "an empty line", func() bool {
		l, err := c.Line(guarded(t), "n")
		return err == nil && len(l.Waiters) == 0
	})
	if err := holder.Release(guarded(t)); err != nil {
		t.Error(err)
	}
	await(t, "every key but the counts to be gone", func() bool {
		for _, n := range nodes {
			keys, _ := n.MustDo(t, "KEYS", "*").([]any)
			for _, k := range keys {
				if k != nameKeys("n")[1] {
					return false
				}
			}
		}
		return true
	})
}

// pipelines keeps how many commands were sent to a node at once at most.
type pipelines struct {
	redisengine.Transport
	longest atomic.Int64
}

func (p *pipelines) Do(ctx context.Context, commands ...redisengine.Command) []redisengine.Result {
	for n := int64(len(commands)); ; {
		if was := p.longest.Load(); was >= n || p.longest.CompareAndSwap(was, n) {
			return p.Transport.Do(ctx, commands...)
		}
	}
}

// However many claims a session has, its end is answered in time: it is asked for a part at
// a time.
func TestAnEndAsksForNoMoreAtOnceThanANodeAnswersInTime(t *testing.T) {
	t.Parallel()
	nodes := start(t, 3)
	e := openOn(t, nodes)
	var sent []*pipelines
	for _, n := range e.nodes {
		p := &pipelines{Transport: n.t}
		n.t, sent = p, append(sent, p)
	}
	c := clientOn(t, e, ttl)
	var claims []*engine.Claim
	for i := range 2*endBatch + 1 {
		claims = append(claims, mutex("n"+strconv.Itoa(i)))
		c.take(claims[i])
	}
	if err := c.End(guarded(t), claims); err != nil {
		t.Fatal(err)
	}
	for _, cl := range claims {
		await(t, "every claim to be gone", func() bool { return votesOf(t, nodes, cl) == 0 })
	}
	for i, p := range sent {
		if most := p.longest.Load(); most > endBatch {
			t.Errorf("node %d was sent %d commands at once", i, most)
		}
	}
}

// Close leaves no connection, whatever the client did, and also where a node is
// stopped.
func TestNothingOfAClientIsLeftAfterClose(t *testing.T) {
	t.Parallel()
	nodes := start(t, 3)
	proxies := behind(t, nodes)
	e := openAt(t, proxied(proxies), young)
	s, err := e.Begin(t.Context(), engine.SessionOptions{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	held, waits := mutex("n"), mutex("n")
	if _, err := s.Acquire(guarded(t), held, false); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(guarded(t))
	left := make(chan error, 2)
	go func() { _, err := s.Acquire(ctx, waits, false); left <- err }()
	go func() {
		var last error
		for _, err := range e.WatchLine(ctx, "n") {
			last = err
		}
		left <- last
	}()
	await(t, "a waiter and a watcher", func() bool {
		l, err := e.Line(guarded(t), "n")
		heard, _ := nodes[2].MustDo(t, "PUBSUB", "NUMSUB", lineChannel+"n").([]any)
		return err == nil && len(l.Waiters) == 1 && heard[1] == int64(1)
	})
	nodes[0].Pause()
	cancel()
	for range cap(left) {
		<-left
	}
	if err := s.End(guarded(t), []*engine.Claim{held, waits}); err != nil {
		t.Error(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	nodes[0].Continue()
	await(t, "every connection to be gone", func() bool {
		n := 0
		for _, p := range proxies {
			n += p.Connections()
		}
		return n == 0
	})
	if keys := nodes[2].MustDo(t, "KEYS", "*"); len(keys.([]any)) > 1 {
		t.Errorf("keys that are left: %v", keys)
	}
}

// One or two nodes work, and say what they are worth.
func TestFewerThanThreeNodesWorkWithAWarning(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 2} {
		nodes := start(t, n)
		var log syncBuffer
		c := clientOn(t, openOn(t, nodes, WithLogger(slog.New(slog.NewTextHandler(&log, nil)))), ttl)
		if !log.contains("survives the loss of none") {
			t.Errorf("the log of %d nodes says %q", n, log.text())
		}
		held := mutex("n")
		c.take(held)
		next := c.queue(mutex("n"))
		c.give(held)
		next.granted()
		c.give(next.claim)
	}
}

// A Lock with tries gives up as redsync's does, and leaves nothing.
func TestTriesBoundALock(t *testing.T) {
	t.Parallel()
	nodes := start(t, 5)
	holder := newClient(t, nodes)
	held := mutex("n")
	holder.take(held)
	c := clientOn(t, openOn(t, nodes, WithTries(2), WithShuffledOrder(), WithDriftFactor(0.02)), ttl)
	if _, err := c.Acquire(guarded(t), mutex("n"), false); !errors.Is(err, engine.ErrHeld) {
		t.Errorf("Lock of two tries: %v, want ErrHeld", err)
	}
	if l, err := c.e.Line(guarded(t), "n"); err != nil || len(l.Waiters) > 0 {
		t.Errorf("it left %+v, %v", l.Waiters, err)
	}
	if want := ttl - ttl/100; c.TTL() != want {
		t.Errorf("TTL %v with a drift of a fiftieth, want %v", c.TTL(), want)
	}
}

// A program passes the clients that it has, and keeps them.
func TestRedlockOverUsersClients(t *testing.T) {
	t.Parallel()
	nodes := start(t, 3)
	clients := make([]rueidis.Client, len(nodes))
	for i, n := range nodes {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{n.Addr}, ForceSingleClient: true})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		clients[i] = c
	}
	e, err := FromClients(t.Context(), clients, young)
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, e: e}
	s, err := e.Begin(t.Context(), engine.SessionOptions{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	c.Session = s.(*Session)
	held := mutex("n")
	c.take(held)
	next := c.queue(mutex("n"))
	c.give(held)
	next.granted()
	c.give(next.claim)
	if err := e.Close(); err != nil {
		t.Error(err)
	}
	for _, c := range clients {
		if err := c.Do(t.Context(), c.B().Ping().Build()).Error(); err != nil {
			t.Errorf("the user's client after Close: %v", err)
		}
	}
}
