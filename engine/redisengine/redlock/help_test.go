package redlock

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// start starts so many servers.
func start(t redistest.TB, n int) []*redistest.Server {
	t.Helper()
	nodes := make([]*redistest.Server, n)
	for i := range nodes {
		nodes[i] = redistest.Start(t)
	}
	return nodes
}

func addresses(nodes []*redistest.Server) []string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = n.Addr
	}
	return all
}

// openOn opens servers that have just been started, and have nothing to forget.
func openOn(t enginetest.TB, nodes []*redistest.Server, opts ...Option) *Engine {
	t.Helper()
	return openAt(t, addresses(nodes), append(opts, young)...)
}

// openAt opens nodes at addresses as the Driver does.
func openAt(t enginetest.TB, hosts []string, opts ...Option) *Engine {
	t.Helper()
	ts, err := transports(t.Context(), engine.Target{Scheme: scheme, Hosts: hosts, Params: map[string]string{}})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return openOver(t, ts, append([]Option{WithNodeNames(hosts...)}, opts...)...)
}

func openOver(t enginetest.TB, ts []redisengine.Transport, opts ...Option) *Engine {
	t.Helper()
	e, err := FromTransports(t.Context(), ts, opts...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return e
}

// client is an engine with a session, as a process has it.
type client struct {
	*Session

	t *testing.T
	e *Engine
}

const ttl = time.Minute

// hang is when a test gives up: long beyond what the slowest machine needs.
const hang = 45 * time.Second

func guarded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), hang, fmt.Errorf("nothing happened for %v", hang))
	t.Cleanup(cancel)
	return ctx
}

// clientOn closes the engine with the test.
func clientOn(t *testing.T, e *Engine, ttl time.Duration) *client {
	t.Helper()
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	s, err := e.Begin(t.Context(), engine.SessionOptions{TTL: ttl})
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	return &client{s.(*Session), t, e}
}

func newClient(t *testing.T, nodes []*redistest.Server) *client {
	t.Helper()
	return clientOn(t, openOn(t, nodes), ttl)
}

func mutex(name string) *engine.Claim {
	return &engine.Claim{ID: engine.ClaimID(rand.Text()), Name: name, Kind: engine.Mutex, Shares: 1, Limit: 1}
}

func try(c *engine.Claim) *engine.Claim { c.Try = true; return c }

// take must be granted.
func (c *client) take(cl *engine.Claim) engine.Grant {
	c.t.Helper()
	g, err := c.Acquire(guarded(c.t), cl, false)
	if err != nil {
		c.t.Fatalf("acquire %q: %v", cl.Name, err)
	}
	return g
}

// give must find the claim.
func (c *client) give(cl *engine.Claim) {
	c.t.Helper()
	if removed, err := c.Release(guarded(c.t), cl); err != nil || !removed {
		c.t.Fatalf("release %q: removed %v, %v", cl.Name, removed, err)
	}
}

func (c *client) renew(cls ...*engine.Claim) engine.Renewal {
	c.t.Helper()
	r, err := c.Renew(guarded(c.t), cls)
	if err != nil {
		c.t.Fatalf("renew: %v", err)
	}
	return r
}

// queued is an Acquire under way.
type queued struct {
	c     *client
	claim *engine.Claim
	grant engine.Grant
	err   error
	done  chan struct{}
}

// begin starts an Acquire.
func (c *client) begin(cl *engine.Claim) *queued {
	q := &queued{c: c, claim: cl, done: make(chan struct{})}
	ctx, cancel := context.WithCancel(guarded(c.t))
	go func() {
		defer close(q.done)
		q.grant, q.err = c.Acquire(ctx, cl, false)
	}()
	c.t.Cleanup(func() { cancel(); <-q.done })
	return q
}

// queue returns when the claim is seen in line.
func (c *client) queue(cl *engine.Claim) *queued {
	c.t.Helper()
	q := c.begin(cl)
	await(c.t, "the claim to be in line", func() bool {
		l, err := c.e.Line(guarded(c.t), cl.Name)
		return err == nil && slices.ContainsFunc(l.Waiters, func(p engine.Place) bool { return p.ID == cl.ID })
	})
	return q
}

func (q *queued) granted() engine.Grant {
	q.c.t.Helper()
	<-q.done
	if q.err != nil {
		q.c.t.Fatalf("the waiter on %q: %v", q.claim.Name, q.err)
	}
	return q.grant
}

// await waits until a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	ctx := guarded(t)
	for !holds() {
		if ctx.Err() != nil {
			t.Fatalf("waiting for %s: %v", what, context.Cause(ctx))
		}
		time.Sleep(2 * time.Millisecond) // between two looks
	}
}

// owners are who has each node's vote on a name: the first part of the value.
func owners(t *testing.T, nodes []*redistest.Server, name string) []string {
	t.Helper()
	all := make([]string, len(nodes))
	for i, n := range nodes {
		value, _ := n.MustDo(t, "GET", name).(string)
		all[i], _, _ = strings.Cut(value, ":")
	}
	return all
}

func votesOf(t *testing.T, nodes []*redistest.Server, cl *engine.Claim) (n int) {
	t.Helper()
	for _, id := range owners(t, nodes, cl.Name) {
		if id == string(cl.ID) {
			n++
		}
	}
	return n
}

// behind puts a proxy before each server.
func behind(t *testing.T, nodes []*redistest.Server) []*faultnet.Proxy {
	t.Helper()
	all := make([]*faultnet.Proxy, len(nodes))
	for i, n := range nodes {
		all[i] = faultnet.New(t, n.Addr, faultnet.RESP)
	}
	return all
}

func proxied(proxies []*faultnet.Proxy) []string {
	all := make([]string, len(proxies))
	for i, p := range proxies {
		all[i] = p.Addr
	}
	return all
}

func young(o *options) { o.young = true }

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) text() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (s *syncBuffer) contains(what string) bool { return strings.Contains(s.text(), what) }
