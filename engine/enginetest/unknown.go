package enginetest

import (
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

// An Acquire whose reply was lost left the claim in one of four states. A repeat
// must do right in each: not arrived, in line, granted, gone again.
var unknownChecks = []check{
	{rule: "again, never arrived: enters as if new", run: againNotArrived},
	{rule: "again, in line: goes on from its place", needs: needFIFO, run: againInLine},
	{rule: "again, granted meanwhile: confirmed", needs: needFIFO, run: againGranted},
	{rule: "again, released: enters as if new with a later token", run: againReleased},
	{rule: "again, removed by somebody else: enters as if new", run: againRemoved},
	{rule: "again, one that never arrived and must wait: waits at the end", needs: needFIFO, run: againWaits},
	{rule: "an Acquire repeated without a doubt is one claim", run: repeatedIsOneClaim},
	{rule: "a Release repeated or late ends nothing else", run: lateRelease},
	{rule: "an Acquire that arrives after its Release is ended by another Release", run: acquireAfterRelease},
	{rule: "a waiter that is removed learns that it is gone", run: removedWaiterLearns},
}

func againNotArrived(t TB, s *suite) {
	a := s.client(t)
	cl := mutex(a.name())
	if _, err := a.attempt(a.ctx, cl, true); err != nil {
		t.Fatalf("Acquire again: %v", err)
	}
	oneHolder(t, a, cl)
}

func oneHolder(t TB, c *client, cl *engine.Claim) {
	t.Helper()
	if l := c.line(cl.Name); !slices.Equal(ids(l.Holders), []engine.ClaimID{cl.ID}) || len(l.Waiters) > 0 {
		t.Errorf("%s, want one holder, %s", showLine(l), short(cl.ID))
	}
}

func againInLine(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	doubted := b.enqueue(mutex(name))
	behind := a.enqueue(mutex(name))
	for range 2 {
		doubted.abandon()
		doubted = b.begin(doubted.claim, true)
	}
	a.release(holder)
	doubted.granted()
	behind.waits()
	a.wantLine("the claim is there once", name, claimIDs{doubted.claim.ID}, claimIDs{behind.claim.ID})
}

func againGranted(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	doubted := b.enqueue(mutex(name))
	doubted.abandon()
	a.release(holder)
	l := a.await(name, "the grant", func(l engine.Line) bool { return has(l.Holders, doubted.claim.ID) })
	g, err := b.attempt(b.ctx, doubted.claim, true)
	if err != nil {
		t.Fatalf("Acquire again: %v", b.cause(err))
	}
	if shown := l.Holders[0].Token; g.Token < shown {
		t.Errorf("confirmed with token %d, granted with %d", g.Token, shown)
	}
	repeat, err := b.attempt(b.ctx, doubted.claim, true)
	if err != nil || repeat.Token < g.Token {
		t.Errorf("confirmed with token %d, then %d, %v", g.Token, repeat.Token, err)
	}
	oneHolder(t, a, doubted.claim)
}

func againReleased(t TB, s *suite) {
	a := s.client(t)
	cl := mutex(a.name())
	first := a.acquire(cl)
	a.release(cl)
	second, err := a.attempt(a.ctx, cl, true)
	if err != nil || second.Token <= first.Token {
		t.Errorf("token %d, %v; want one after %d", second.Token, err, first.Token)
	}
	oneHolder(t, a, cl)
}

func againRemoved(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	doubted := b.enqueue(mutex(name))
	doubted.abandon()
	if err := a.engine.Remove(a.ctx, name, doubted.claim.ID); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	again := b.begin(doubted.claim, true)
	a.await(name, "the claim to be in line again", func(l engine.Line) bool { return has(l.Waiters, doubted.claim.ID) })
	a.release(holder)
	again.granted()
}

func againWaits(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	first := a.enqueue(mutex(name))
	again := b.begin(mutex(name), true)
	a.await(name, "the claim to be in line", func(l engine.Line) bool { return has(l.Waiters, again.claim.ID) })
	a.release(holder)
	first.granted()
	again.waits()
	a.release(first.claim)
	again.granted()
}

func repeatedIsOneClaim(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	cl := mutex(name)
	a.acquire(cl)
	if _, err := a.attempt(a.ctx, cl, false); err != nil {
		t.Fatalf("the same Acquire again: %v (E1)", a.cause(err))
	}
	oneHolder(t, a, cl)
	waiter := b.enqueue(mutex(name))
	twice := b.begin(waiter.claim, false)
	b.line(name)
	a.release(cl)
	waiter.granted()
	twice.granted()
	oneHolder(t, a, waiter.claim)
}

func lateRelease(t TB, s *suite) {
	a := s.client(t)
	name := a.name()
	first, second := mutex(name), mutex(name)
	a.acquire(first)
	a.release(first)
	a.acquire(second)
	if removed, err := a.session.Release(a.ctx, first); removed || err != nil {
		t.Errorf("a late Release: removed %v, %v", removed, err)
	}
	oneHolder(t, a, second)
}

func acquireAfterRelease(t TB, s *suite) {
	a := s.client(t)
	cl := mutex(a.name())
	if removed, err := a.session.Release(a.ctx, cl); removed || err != nil {
		t.Errorf("Release of what has not arrived: removed %v, %v", removed, err)
	}
	if _, err := a.attempt(a.ctx, cl, false); err != nil {
		t.Fatalf("Acquire: %v", err)
	}
	a.release(cl)
	a.acquire(try(mutex(cl.Name)))
}

func removedWaiterLearns(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	a.acquire(mutex(name))
	gone, stays := b.enqueue(mutex(name)), a.enqueue(mutex(name))
	if err := a.engine.Remove(a.ctx, name, gone.claim.ID); err != nil {
		t.Fatalf("Remove: %v", err)
	}
	is(t, "Acquire of a claim that was removed", gone.failed(), engine.ErrNotFound)
	stays.waits()
}
