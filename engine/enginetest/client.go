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

// pending is an Acquire that waits.
type pending struct {
	*client
	claim  *engine.Claim
	cancel context.CancelFunc
	done   chan struct{}
	grant  engine.Grant
	err    error
	at     time.Time // when it returned
}

// begin starts an Acquire.
func (c *client) begin(cl *engine.Claim, again bool) *pending {
	ctx, cancel := context.WithCancel(c.ctx)
	p := &pending{client: c, claim: cl, cancel: cancel, done: make(chan struct{})}
	c.attempts.Go(func() {
		defer cancel()
		p.grant, p.err = c.attempt(ctx, cl, again)
		p.at = time.Now()
		close(p.done)
	})
	return p
}

// insist starts an Acquire that, as the core's, is repeated while in doubt.
func (c *client) insist(cl *engine.Claim) *pending {
	ctx, cancel := context.WithCancel(c.ctx)
	p := &pending{client: c, claim: cl, cancel: cancel, done: make(chan struct{})}
	c.attempts.Go(func() {
		defer cancel()
		p.grant, p.err = c.attempt(ctx, cl, false)
		for p.err != nil && ctx.Err() == nil && !engine.Definite(p.err) {
			p.grant, p.err = c.attempt(ctx, cl, true)
		}
		p.at = time.Now()
		close(p.done)
	})
	return p
}

// insistOn repeats a call while it is in doubt.
func (c *client) insistOn(call func() error) error {
	err := call()
	for err != nil && c.ctx.Err() == nil && !engine.Definite(err) {
		err = call()
	}
	return c.cause(err)
}

// enqueue starts an Acquire and returns when it is seen waiting in its line.
func (c *client) enqueue(cl *engine.Claim) *pending {
	c.Helper()
	p := c.begin(cl, false)
	l := c.await(cl.Name, show(cl)+" to be in line", func(l engine.Line) bool { return has(l.Waiters, cl.ID) || has(l.Holders, cl.ID) })
	if !has(l.Waiters, cl.ID) {
		c.Fatalf("%s was granted and should wait: %s", show(cl), showLine(l))
	}
	return p
}

// returned waits until the Acquire has returned; one that does not hear the end
// of its context must not stop the whole suite.
func (p *pending) returned() {
	p.Helper()
	select {
	case <-p.done:
		return
	case <-p.ctx.Done():
	}
	select {
	case <-p.done:
	case <-time.After(grace):
		p.Fatalf("Acquire of %s does not return: %v", show(p.claim), context.Cause(p.ctx))
	}
}

// granted waits for the grant.
func (p *pending) granted() engine.Grant {
	p.Helper()
	p.returned()
	if p.err != nil {
		p.Fatalf("Acquire of %s: %v", show(p.claim), p.cause(p.err))
	}
	return p.grant
}

// failed waits for the error.
func (p *pending) failed() error {
	p.Helper()
	p.returned()
	if p.err == nil {
		p.Fatalf("Acquire of %s was granted token %d", show(p.claim), p.grant.Token)
	}
	return p.cause(p.err)
}

// waits checks that the claim waits now, by the line and by its caller.
func (p *pending) waits() {
	p.Helper()
	if l := p.line(p.claim.Name); !has(l.Waiters, p.claim.ID) {
		p.Fatalf("%s does not wait: %s", show(p.claim), showLine(l))
	}
	select {
	case <-p.done:
		p.Fatalf("Acquire of %s returned while it waits: %+v, %v", show(p.claim), p.grant, p.err)
	default:
	}
}

// abandon cancels the Acquire, as a caller that gives up; its claim stays.
func (p *pending) abandon() {
	p.Helper()
	p.cancel()
	if err := p.failed(); !errors.Is(err, context.Canceled) {
		p.Fatalf("Acquire of %s, cancelled: %v, want context.Canceled", show(p.claim), err)
	}
}

// leave is abandon and the withdrawal that the core sends after it.
func (p *pending) leave() {
	p.Helper()
	p.abandon()
	p.release(p.claim)
}

func has(places []engine.Place, id engine.ClaimID) bool {
	for _, p := range places {
		if p.ID == id {
			return true
		}
	}
	return false
}

func ids(places []engine.Place) []engine.ClaimID {
	out := []engine.ClaimID{}
	for _, p := range places {
		out = append(out, p.ID)
	}
	return out
}

func show(c *engine.Claim) string {
	return fmt.Sprintf("%s (%v, %d of %d)", short(c.ID), c.Kind, c.Shares, c.Limit)
}

func short(id engine.ClaimID) engine.ClaimID { return id[:min(6, len(id))] }

func showLine(l engine.Line) string {
	var b strings.Builder
	b.WriteString("held by [")
	for _, p := range l.Holders {
		fmt.Fprintf(&b, " %s:%d", short(p.ID), p.Shares)
	}
	b.WriteString(" ], awaited by [")
	for _, p := range l.Waiters {
		fmt.Fprintf(&b, " %s:%d", short(p.ID), p.Shares)
	}
	b.WriteString(" ]")
	return b.String()
}

// is checks an error by its sentinel, and that it is one of the seam's for
// certain where the sentinel is.
func is(t TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
