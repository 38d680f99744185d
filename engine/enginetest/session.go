package enginetest

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

var sessionChecks = []check{
	{rule: "claims live for TTL from the last renewal and then go", run: sessionLivesForTTL},
	{rule: "Renew lists what is gone and only that", run: renewListsWhatIsGone},
	{rule: "Renew brings no claim back", run: renewBringsNothingBack},
	{rule: "End lets go of everything and lets the next in", run: endLetsGo},
	{rule: "End twice is no error", run: endTwice},
	{rule: "an ended session refuses", run: endedSessionRefuses},
	{rule: "sessions of one handle are apart", run: sessionsAreApart},
	{rule: "Lost is not called for what the client ends itself", run: lostOnlyForLosses},
}

// sessionLivesForTTL keeps a session by renewals for longer than its TTL, then
// stops. Only "too early" is an error: how late an engine notices is its own.
func sessionLivesForTTL(t TB, s *suite) {
	a, b := s.clientTTL(t, shortTTL), s.client(t)
	name := a.name()
	proven := time.Now()
	cl := mutex(name)
	a.acquire(cl)
	next := b.enqueue(mutex(name))
	ttl := a.session.TTL()
	if ttl <= 0 {
		t.Fatalf("TTL() is %v", ttl)
	}
	end := time.Now().Add(ttl + ttl/2)
	tick := time.NewTicker(ttl / 8)
	defer tick.Stop()
	for time.Now().Before(end) {
		<-tick.C
		sent := time.Now()
		r, err := a.session.Renew(a.ctx, a.begun())
		switch {
		case err == nil && len(r.Lost) == 0:
			proven = sent
		case sent.Sub(proven) < ttl:
			t.Fatalf("lost %v after a renewal though the TTL is %v: %+v, %v", sent.Sub(proven), ttl, r, err)
		default:
			t.Logf("this machine stood still for over a TTL: nothing to see")
			return
		}
	}
	next.granted()
	if early := ttl - next.at.Sub(proven); early > 0 {
		t.Errorf("the next was let in %v before the TTL since the last renewal was over (S1)", early)
	}
}

func renewListsWhatIsGone(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	held, removed, waiting := mutex(a.name()), mutex(a.name()), mutex(a.name())
	a.acquire(held)
	a.acquire(removed)
	b.acquire(mutex(waiting.Name))
	a.enqueue(waiting)
	if r := a.renew(); len(r.Lost)+len(r.Unsure) > 0 {
		t.Errorf("all claims live, Renew says %+v", r)
	}
	if err := b.engine.Remove(b.ctx, removed.Name, removed.ID); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	for range 2 {
		if r := a.renew(); !slices.Equal(r.Lost, []engine.ClaimID{removed.ID}) {
			t.Errorf("Renew lost %v, want only the one removed, %v", r.Lost, removed.ID)
		}
	}
	b.await(held.Name, "the renewed claim", func(l engine.Line) bool { return has(l.Holders, held.ID) })
}

func renewBringsNothingBack(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	gone := mutex(a.name())
	a.acquire(gone)
	if err := b.engine.Remove(b.ctx, gone.Name, gone.ID); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	a.renew()
	if l := b.line(gone.Name); len(l.Holders)+len(l.Waiters) > 0 {
		t.Errorf("after the renewal of a removed claim: %s (S3)", showLine(l))
	}
	next := mutex(gone.Name)
	b.acquire(next)
	a.renew()
	if l := b.line(gone.Name); !slices.Equal(ids(l.Holders), []engine.ClaimID{next.ID}) {
		t.Errorf("after the renewal of a claim that another followed: %s (S3)", showLine(l))
	}
}

func endLetsGo(t TB, s *suite) {
	a, b, c := s.client(t), s.client(t), s.client(t)
	x, y, z := a.name(), a.name(), a.name()
	a.acquire(mutex(x))
	a.acquire(mutex(y))
	b.acquire(mutex(z))
	inX, inY := b.enqueue(mutex(x)), b.enqueue(mutex(y))
	a.enqueue(mutex(z)).abandon()
	behind := c.enqueue(mutex(z))
	if err := a.session.End(a.ctx, a.begun()); err != nil {
		t.Fatalf("End: %v", err)
	}
	inX.granted()
	inY.granted()
	behind.waits()
	b.await(z, "the ended session's waiter to be gone", func(l engine.Line) bool {
		return slices.Equal(ids(l.Waiters), []engine.ClaimID{behind.claim.ID})
	})
}

func endTwice(t TB, s *suite) {
	a := s.client(t)
	a.acquire(mutex(a.name()))
	for range 3 {
		if err := a.session.End(a.ctx, a.begun()); err != nil {
			t.Errorf("End: %v", err)
		}
	}
}

func endedSessionRefuses(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	cl := mutex(a.name())
	a.acquire(cl)
	if err := a.session.End(a.ctx, a.begun()); err != nil {
		t.Fatalf("End: %v", err)
	}
	next := mutex(cl.Name)
	b.acquire(next)
	_, err := a.session.Renew(a.ctx, []*engine.Claim{cl})
	is(t, "Renew after End", err, engine.ErrSessionEnded)
	is(t, "Acquire after End", a.refused(mutex(a.name())), engine.ErrSessionEnded)
	is(t, "Acquire of a held name after End", a.refused(mutex(cl.Name)), engine.ErrSessionEnded)
	if removed, err := a.session.Release(a.ctx, cl); removed || (err != nil && !errors.Is(err, engine.ErrSessionEnded)) {
		t.Errorf("Release after End: removed %v, %v", removed, err)
	}
	if err := a.session.SetNote(a.ctx, cl, nil); !errors.Is(err, engine.ErrSessionEnded) && !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("SetNote after End: %v", err)
	}
	if l := b.line(cl.Name); !slices.Equal(ids(l.Holders), []engine.ClaimID{next.ID}) || len(l.Waiters) > 0 {
		t.Errorf("an ended session changed the line: %s", showLine(l))
	}
}

func sessionsAreApart(t TB, s *suite) {
	a := s.client(t)
	b := s.on(t, a.engine, engine.SessionOptions{TTL: longTTL})
	mine, theirs := mutex(a.name()), mutex(a.name())
	a.acquire(mine)
	b.acquire(theirs)
	waiter := b.enqueue(mutex(mine.Name))
	if err := a.session.End(a.ctx, a.begun()); err != nil {
		t.Fatalf("End: %v", err)
	}
	waiter.granted()
	if r := b.renew(); len(r.Lost) > 0 {
		t.Errorf("another session's End took %v", r.Lost)
	}
}

func lostOnlyForLosses(t TB, s *suite) {
	var calls atomic.Int32
	a := s.on(t, s.open(t), engine.SessionOptions{TTL: longTTL, Lost: func(engine.ClaimID, error) { calls.Add(1) }})
	name := a.name()
	first, last := mutex(name), mutex(a.name())
	a.acquire(first)
	second := a.enqueue(mutex(name))
	a.release(first)
	second.granted()
	a.acquire(last)
	a.renew()
	if err := a.session.End(context.WithoutCancel(a.ctx), a.begun()); err != nil {
		t.Fatalf("End: %v", err)
	}
	if n := calls.Load(); n > 0 {
		t.Errorf("Lost was called %d times; nothing was lost", n)
	}
}
