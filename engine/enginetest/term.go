package enginetest

import (
	"slices"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// shortTerm is long enough to be seen before it ends, on a machine that is not
// standing still; what needs that is not a check's verdict.
const shortTerm = 1500 * time.Millisecond

var termChecks = []check{
	{rule: "a term ends by itself and never before Until", needs: needTerm, run: termEnds},
	{rule: "Renew does not prolong a term", needs: needTerm, run: renewDoesNotProlongTerm},
	{rule: "a granted term outlives its session's End", needs: needTerm, run: termOutlivesEnd},
	{rule: "a granted term outlives its session's loss", needs: needTerm, run: termOutlivesLoss},
	{rule: "a term that waits goes with its session", needs: needTerm, run: waitingTermGoes},
	{rule: "a term runs from the grant, not from the claim", needs: needTerm, run: termRunsFromGrant},
	{rule: "Release ends a term early", needs: needTerm, run: releaseEndsTerm},
	{rule: "a repeated Acquire neither prolongs nor doubles a term", needs: needTerm, run: againTerm},
	{rule: "a term longer than MaxTerm is refused", needs: needMaxTerm, run: longerTermRefused},
	{rule: "an engine without terms refuses them", needs: needNoTerm, run: termRefused},
}

// longTerm is one that ends in no check.
func (s *suite) longTerm() time.Duration {
	if s.info.MaxTerm > 0 {
		return min(longTTL, s.info.MaxTerm)
	}
	return longTTL
}

func termed(name string, d time.Duration) *engine.Claim {
	c := mutex(name)
	c.Term = d
	return c
}

// acquireTerm checks what Until must be for a grant made between two looks at
// the clock.
func (c *client) acquireTerm(cl *engine.Claim) engine.Grant {
	c.Helper()
	before := time.Now()
	g := c.acquire(cl)
	if g.Until.IsZero() {
		c.Fatalf("the grant of a term has no Until")
	}
	if !g.Until.After(before) || g.Until.After(time.Now().Add(cl.Term)) {
		c.Errorf("Until is %v after the request, for a term of %v", g.Until.Sub(before), cl.Term)
	}
	return g
}

func (p *pending) notBefore(until time.Time) {
	p.Helper()
	p.granted()
	if early := until.Sub(p.at); early > 0 {
		p.Errorf("the next was let in %v before Until", early)
	}
}

func termEnds(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	g := a.acquireTerm(termed(name, shortTerm))
	next := b.begin(mutex(name), false)
	next.notBefore(g.Until)
	if r := a.renew(); len(r.Lost) != 1 {
		t.Errorf("Renew after the term: lost %v, want it", r.Lost)
	}
}

func renewDoesNotProlongTerm(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	g := a.acquireTerm(termed(name, shortTerm))
	next := b.begin(mutex(name), false)
	tick := time.NewTicker(shortTerm / 5)
	defer tick.Stop()
	for {
		select {
		case <-next.done:
			next.notBefore(g.Until)
			return
		case <-tick.C:
			a.renew()
		}
	}
}

func termOutlivesEnd(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	cl := termed(a.name(), s.longTerm())
	a.acquireTerm(cl)
	held := mutex(a.name())
	a.acquire(held)
	if err := a.session.End(a.ctx, a.begun()); err != nil {
		t.Fatalf("End: %v", err)
	}
	b.acquire(mutex(held.Name))
	is(t, "Try of a running term", b.refused(try(mutex(cl.Name))), engine.ErrHeld)
	if err := b.engine.Remove(b.ctx, cl.Name, cl.ID); err != nil {
		t.Errorf("Remove: %v", err)
	}
	b.acquire(try(mutex(cl.Name)))
}

func termOutlivesLoss(t TB, s *suite) {
	a, b := s.lapsing(t), s.client(t)
	cl, held := termed(a.name(), s.longTerm()), mutex(a.name())
	a.acquireTerm(cl)
	a.acquire(held)
	lost := b.enqueue(mutex(held.Name))
	a.lapse()
	lost.granted()
	is(t, "Try of a running term", b.refused(try(mutex(cl.Name))), engine.ErrHeld)
	if err := b.engine.Remove(b.ctx, cl.Name, cl.ID); err != nil {
		t.Errorf("Remove: %v", err)
	}
}

func waitingTermGoes(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	b.acquire(mutex(name))
	a.enqueue(termed(name, s.longTerm())).abandon()
	if err := a.session.End(a.ctx, a.begun()); err != nil {
		t.Fatalf("End: %v", err)
	}
	b.await(name, "the place to go", func(l engine.Line) bool { return len(l.Waiters) == 0 })
}

func termRunsFromGrant(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	first := a.acquireTerm(termed(name, shortTerm))
	second := b.enqueue(termed(name, shortTerm))
	third := a.enqueue(termed(name, shortTerm))
	second.granted()
	third.granted()
	if !s.info.FIFO && third.at.Before(second.at) {
		second, third = third, second
	}
	second.notBefore(first.Until)
	if whole := first.Until.Add(shortTerm / 2); second.grant.Until.Before(whole) {
		t.Errorf("the term of one that waited ends %v after the one before it, want about %v", second.grant.Until.Sub(first.Until), shortTerm)
	}
	third.notBefore(second.grant.Until)
}

func releaseEndsTerm(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	cl := termed(a.name(), s.longTerm())
	a.acquireTerm(cl)
	next := b.enqueue(mutex(cl.Name))
	if r := a.renew(); len(r.Lost) > 0 {
		t.Errorf("Renew says a running term is lost")
	}
	a.release(cl)
	next.granted()
	if removed, err := a.session.Release(a.ctx, cl); removed || err != nil {
		t.Errorf("Release again: removed %v, %v", removed, err)
	}
}

func againTerm(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	cl := termed(a.name(), shortTerm)
	g := a.acquireTerm(cl)
	granted := time.Now()
	again, err := a.attempt(a.ctx, cl, true)
	if err != nil || again.Until.IsZero() {
		t.Fatalf("Acquire again: until %v, %v", again.Until, err)
	}
	if time.Now().Before(g.Until) && again.Until.After(granted.Add(shortTerm)) { // later it may be another grant
		t.Errorf("a repeat moved Until by %v", again.Until.Sub(g.Until))
	}
	if l := b.line(cl.Name); len(slices.Concat(l.Holders, l.Waiters)) > 1 {
		t.Errorf("a repeat doubled the claim: %s", showLine(l))
	}
	b.begin(mutex(cl.Name), false).notBefore(again.Until)
}

func termRefused(t TB, s *suite) {
	a := s.client(t)
	cl := termed(a.name(), s.longTerm())
	is(t, "a term", a.refused(cl), engine.ErrUnsupported)
	if l := a.line(cl.Name); len(l.Holders)+len(l.Waiters) > 0 {
		t.Errorf("refused, and left %s", showLine(l))
	}
}

func longerTermRefused(t TB, s *suite) {
	a := s.client(t)
	cl := termed(a.name(), s.info.MaxTerm+time.Second)
	is(t, "a longer term", a.refused(cl), engine.ErrInvalid)
	if l := a.line(cl.Name); len(l.Holders)+len(l.Waiters) > 0 {
		t.Errorf("refused, and left %s", showLine(l))
	}
}
