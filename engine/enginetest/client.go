package enginetest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Sessions that are not meant to end outlive any check without a renewal;
// those that are, and that no hook can end, are this short.
const (
	longTTL  = 10 * time.Minute
	shortTTL = 2 * time.Second
)

// name is a new one for a lock or a map, as the engine knows it.
func (s *suite) name(t TB, e engine.Engine) string {
	t.Helper()
	name, err := e.CheckName("et-" + strings.ToLower(rand.Text()))
	if err != nil {
		t.Fatalf("CheckName: %v", err)
	}
	return name
}

func newID() engine.ClaimID { return engine.ClaimID(rand.Text()) }

func mutex(name string) *engine.Claim { return claim(name, engine.Mutex, 1, 1) }

func semaphore(name string, shares, limit int) *engine.Claim {
	return claim(name, engine.Semaphore, shares, limit)
}

func reader(name string) *engine.Claim { return claim(name, engine.ReadWrite, 1, engine.Unlimited) }

func writer(name string) *engine.Claim {
	return claim(name, engine.ReadWrite, engine.Unlimited, engine.Unlimited)
}

func claim(name string, k engine.Kind, shares, limit int) *engine.Claim {
	return &engine.Claim{ID: newID(), Name: name, Kind: k, Shares: shares, Limit: limit}
}

// try is the claim, not waiting.
func try(c *engine.Claim) *engine.Claim {
	c.Try = true
	return c
}

// open is another handle on the service.
func (s *suite) open(t TB) engine.Engine {
	t.Helper()
	e := s.Open(t)
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return e
}

// client is one process: a handle and a session on it.
type client struct {
	TB
	suite   *suite
	ctx     context.Context // ends with the check, or when it hangs
	engine  engine.Engine
	session engine.Session

	mu       sync.Mutex
	claims   []*engine.Claim
	lapse    func() // ends the session as its TTL would
	attempts sync.WaitGroup
}

func (s *suite) client(t TB) *client { return s.clientTTL(t, longTTL) }

func (s *suite) clientTTL(t TB, ttl time.Duration) *client {
	t.Helper()
	return s.on(t, s.open(t), engine.SessionOptions{TTL: ttl})
}

// on begins a session on a handle.
func (s *suite) on(t TB, e engine.Engine, o engine.SessionOptions) *client {
	t.Helper()
	ctx, cancel := context.WithCancel(guarded(t))
	session, err := e.Begin(ctx, o)
	if err != nil {
		t.Fatalf("Begin: %v", err)
	}
	c := &client{TB: t, suite: s, ctx: ctx, engine: e, session: session}
	t.Cleanup(func() {
		cancel()
		c.settle()
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := session.End(ctx, c.begun()); err != nil && !errors.Is(err, engine.ErrClosed) {
			t.Errorf("End: %v", err)
		}
	})
	return c
}

// settle waits for everything that the check began through the client and that
// its context has just ended.
func (c *client) settle() {
	done := make(chan struct{})
	go func() { c.attempts.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(grace):
		c.Errorf("a call did not return within %v of its context's end", grace)
	}
}

// lapsing is a client whose session the check will end with c.lapse: by the
// harness, or by no longer renewing it.
func (s *suite) lapsing(t TB) *client {
	t.Helper()
	if s.EndSession != nil {
		c := s.client(t)
		c.lapse = func() { s.EndSession(t, c.session) }
		return c
	}
	c := s.clientTTL(t, shortTTL)
	stop := make(chan struct{})
	c.lapse = sync.OnceFunc(func() { close(stop) })
	var upkeep sync.WaitGroup
	upkeep.Go(func() {
		tick := time.NewTicker(c.session.TTL() / 8)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				c.session.Renew(c.ctx, c.begun()) // the check sees what comes of it
			}
		}
	})
	t.Cleanup(func() { c.lapse(); upkeep.Wait() })
	return c
}

// begun is what the core would pass to Renew and End.
func (c *client) begun() []*engine.Claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]*engine.Claim(nil), c.claims...)
}

func (c *client) name() string { return c.suite.name(c, c.engine) }

func (c *client) attempt(ctx context.Context, cl *engine.Claim, again bool) (engine.Grant, error) {
	c.mu.Lock()
	c.claims = append(c.claims, cl)
	c.mu.Unlock()
	return c.session.Acquire(ctx, cl, again)
}

// acquire must be granted.
func (c *client) acquire(cl *engine.Claim) engine.Grant {
	c.Helper()
	g, err := c.attempt(c.ctx, cl, false)
	if err != nil {
		c.Fatalf("Acquire of %s: %v", show(cl), c.cause(err))
	}
	return g
}

// refused must not be granted.
func (c *client) refused(cl *engine.Claim) error {
	c.Helper()
	g, err := c.attempt(c.ctx, cl, false)
	if err == nil {
		c.Fatalf("Acquire of %s was granted token %d", show(cl), g.Token)
	}
	return c.cause(err)
}

// cause says so where an error is only that of the guard.
func (c *client) cause(err error) error {
	if cause := context.Cause(c.ctx); err != nil && cause != nil {
		return fmt.Errorf("%w (%w)", err, cause)
	}
	return err
}

// release must find the claim.
func (c *client) release(cl *engine.Claim) {
	c.Helper()
	removed, err := c.session.Release(c.ctx, cl)
	if err != nil || !removed {
		c.Fatalf("Release of %s: removed %v, %v", show(cl), removed, c.cause(err))
	}
}

func (c *client) renew() engine.Renewal {
	c.Helper()
	r, err := c.session.Renew(c.ctx, c.begun())
	if err != nil {
		c.Fatalf("Renew: %v", c.cause(err))
	}
	return r
}

func (c *client) line(name string) engine.Line {
	c.Helper()
	l, err := c.engine.Line(c.ctx, name)
	if err != nil {
		c.Fatalf("Line: %v", c.cause(err))
	}
	return l
}

// await waits for a line that is as it should be.
func (c *client) await(name, what string, ok func(engine.Line) bool) engine.Line {
	c.Helper()
	var last engine.Line
	for c.ctx.Err() == nil {
		for l, err := range c.engine.WatchLine(c.ctx, name) {
			if err != nil {
				break // an interruption: call again
			}
			if last = l; ok(l) {
				return l
			}
		}
	}
	c.Fatalf("waiting for %s: %v; the line is %s", what, context.Cause(c.ctx), showLine(last))
	return last
}
