package enginetest

import (
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

var orderChecks = []check{
	{rule: "first come, first served, from any handle", needs: needFIFO, run: firstComeFirstServed},
	{rule: "who leaves disturbs nobody else's place", needs: needFIFO, run: leavingDisturbsNobody},
	{rule: "a release lets in the next and only it", run: releaseLetsInOne},
	{rule: "a new claim waits behind those who wait", needs: needFIFO, run: newClaimsDoNotBarge},
	{rule: "Release touches nothing but its own claim", run: releaseOnlyMine},
	{rule: "Release twice says that there was nothing", run: releaseTwice},
	{rule: "a waiter's Release lets nobody in", run: waitersReleaseLetsNobodyIn},
}

func firstComeFirstServed(t TB, s *suite) {
	clients := []*client{s.client(t), s.client(t), s.client(t)}
	name := clients[0].name()
	holder := mutex(name)
	clients[0].acquire(holder)
	var queue []*pending
	for i := range 9 {
		queue = append(queue, clients[i%3].enqueue(mutex(name)))
	}
	clients[0].release(holder)
	for i, p := range queue {
		p.granted()
		for _, later := range queue[i+1:] {
			later.waits()
		}
		p.release(p.claim)
	}
}

func leavingDisturbsNobody(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	var queue []*pending
	for i := range 7 {
		queue = append(queue, []*client{a, b}[i%2].enqueue(mutex(name)))
	}
	for _, leaver := range []int{6, 3, 0} { // the last, one between, the first
		queue[leaver].leave()
		queue = slices.Delete(queue, leaver, leaver+1)
		var want []engine.ClaimID
		for _, p := range queue {
			want = append(want, p.claim.ID)
			p.waits()
		}
		if l := a.line(name); !slices.Equal(ids(l.Waiters), want) || !slices.Equal(ids(l.Holders), []engine.ClaimID{holder.ID}) {
			t.Fatalf("after one left: %s, want waiters %v (S6)", showLine(l), want)
		}
	}
	a.release(holder)
	for _, p := range queue {
		p.granted()
		p.release(p.claim)
	}
}

func releaseLetsInOne(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	queue := []*pending{b.enqueue(mutex(name)), a.enqueue(mutex(name)), b.enqueue(mutex(name))}
	a.release(holder)
	l := a.await(name, "a successor", func(l engine.Line) bool { return len(l.Holders) > 0 })
	if len(l.Holders) != 1 || len(l.Waiters) != 2 {
		t.Fatalf("after a release: %s, want one holder and two waiters", showLine(l))
	}
	for _, p := range queue {
		if p.claim.ID == l.Holders[0].ID {
			p.granted()
		} else {
			p.waits()
		}
	}
}

func newClaimsDoNotBarge(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	first := a.enqueue(mutex(name))
	late := b.enqueue(mutex(name))
	a.release(holder)
	first.granted()
	late.waits()
	later := b.enqueue(mutex(name))
	first.release(first.claim)
	late.granted()
	later.waits()
}

func releaseOnlyMine(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held := mutex(name)
	b.acquire(held)
	waiter := b.enqueue(mutex(name))
	for _, c := range []*client{a, b} {
		removed, err := c.session.Release(c.ctx, mutex(name))
		if removed || err != nil {
			t.Errorf("Release of a claim that never was: removed %v, %v", removed, err)
		}
	}
	if l := a.line(name); !slices.Equal(ids(l.Holders), []engine.ClaimID{held.ID}) {
		t.Errorf("a stranger's Release changed the line: %s (S3)", showLine(l))
	}
	waiter.waits()
}

func releaseTwice(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	mine, next := mutex(name), mutex(name)
	a.acquire(mine)
	a.release(mine)
	b.acquire(next)
	for range 2 {
		if removed, err := a.session.Release(a.ctx, mine); removed || err != nil {
			t.Errorf("Release again: removed %v, %v", removed, err)
		}
	}
	if l := b.line(name); !slices.Equal(ids(l.Holders), []engine.ClaimID{next.ID}) {
		t.Errorf("a repeated Release changed the line: %s (S3)", showLine(l))
	}
}

func waitersReleaseLetsNobodyIn(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	leaver, stayer := b.enqueue(mutex(name)), a.enqueue(mutex(name))
	leaver.leave()
	stayer.waits()
	if l := b.line(name); !slices.Equal(ids(l.Holders), []engine.ClaimID{holder.ID}) {
		t.Errorf("a waiter left: %s", showLine(l))
	}
}
