package redisengine

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// client is an engine with a session, as a process has it.
type client struct {
	*Session

	t *testing.T
	e *Engine
}

func newClient(t *testing.T, server *redistest.Server) *client {
	t.Helper()
	return clientOn(t, openOn(t, server, ""), time.Minute)
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

func newClaim(name string, k engine.Kind, shares, limit int) *engine.Claim {
	return &engine.Claim{ID: engine.ClaimID(rand.Text()), Name: name, Kind: k, Shares: shares, Limit: limit}
}

func mutex(name string) *engine.Claim { return newClaim(name, engine.Mutex, 1, 1) }

func try(c *engine.Claim) *engine.Claim { c.Try = true; return c }

// take must be granted.
func (c *client) take(cl *engine.Claim) engine.Grant {
	c.t.Helper()
	g, err := c.Acquire(storeContext(c.t), cl, false)
	if err != nil {
		c.t.Fatalf("acquire %q: %v", cl.Name, err)
	}
	return g
}

// give must find the claim.
func (c *client) give(cl *engine.Claim) {
	c.t.Helper()
	if removed, err := c.Release(storeContext(c.t), cl); err != nil || !removed {
		c.t.Fatalf("release %q: removed %v, %v", cl.Name, removed, err)
	}
}

// queued is an Acquire under way.
type queued struct {
	c     *client
	claim *engine.Claim
	grant engine.Grant
	err   error
	done  chan struct{}
}

// queue returns when the claim is seen in line.
func (c *client) queue(cl *engine.Claim) *queued {
	c.t.Helper()
	q := &queued{c: c, claim: cl, done: make(chan struct{})}
	ctx := storeContext(c.t)
	go func() {
		defer close(q.done)
		q.grant, q.err = c.Acquire(ctx, cl, false)
	}()
	c.t.Cleanup(func() { <-q.done })
	c.inLine(cl.Name, cl.ID)
	return q
}

// inLine waits until a claim waits.
func (c *client) inLine(name string, id engine.ClaimID) {
	c.t.Helper()
	for line, err := range c.e.WatchLine(storeContext(c.t), name) {
		if err != nil {
			c.t.Fatalf("watch %q: %v", name, err)
		}
		for _, w := range line.Waiters {
			if w.ID == id {
				return
			}
		}
	}
}

func (q *queued) granted() engine.Grant {
	q.c.t.Helper()
	<-q.done
	if q.err != nil {
		q.c.t.Fatalf("the waiter on %q: %v", q.claim.Name, q.err)
	}
	return q.grant
}

// listens waits until the server has this client's subscription.
func (c *client) listens() {
	c.t.Helper()
	c.e.bell.listen()
	await(c.t, "the subscription", c.e.bell.up.Load)
}
