package enginetest

import (
	"context"
	"errors"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

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
