package enginetest

import (
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

var passChecks = []check{
	{rule: "Pass grants the named waiter next, and others keep their order", needs: needPass | needFIFO, run: passToNamed},
	{rule: "Pass to nobody in line changes nothing", needs: needPass, run: passToNobody},
	{rule: "Pass of what is not held changes nothing", needs: needPass, run: passOfNothing},
	{rule: "Pass again after its success is a success", needs: needPass, run: passAgain},
	{rule: "Pass gives a greater token", needs: needPass, run: passToken},
	{rule: "an engine without Pass refuses it", needs: needNoPass, run: passRefused},
}

func passToNamed(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	first, heir, last := b.enqueue(mutex(name)), b.enqueue(mutex(name)), a.enqueue(mutex(name))
	if err := a.session.Pass(a.ctx, holder, heir.claim.ID); err != nil {
		t.Fatalf("Pass: %v", err)
	}
	heir.granted()
	first.waits()
	last.waits()
	if l := a.line(name); !slices.Equal(ids(l.Waiters), []engine.ClaimID{first.claim.ID, last.claim.ID}) || len(l.Holders) != 1 {
		t.Errorf("after Pass: %s", showLine(l))
	}
	b.release(heir.claim)
	first.granted()
	last.waits()
}

func passToNobody(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	waiter := b.enqueue(mutex(name))
	left := b.enqueue(mutex(name))
	left.leave()
	for _, to := range []engine.ClaimID{newID(), left.claim.ID} {
		is(t, "Pass to nobody", a.session.Pass(a.ctx, holder, to), engine.ErrNotFound)
	}
	if l := a.line(name); !has(l.Holders, holder.ID) {
		t.Errorf("a failed Pass let go: %s", showLine(l))
	}
	waiter.waits()
}

func passOfNothing(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held, gone := mutex(name), mutex(name)
	a.acquire(gone)
	a.release(gone)
	b.acquire(held)
	first, second := b.enqueue(mutex(name)), a.enqueue(mutex(name))
	is(t, "Pass of a claim that is gone", a.session.Pass(a.ctx, gone, second.claim.ID), engine.ErrNotFound)
	first.waits()
	second.waits()
	b.release(held)
	first.granted()
}

func passAgain(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	other, heir := b.enqueue(mutex(name)), b.enqueue(mutex(name))
	for range 3 {
		if err := a.session.Pass(a.ctx, holder, heir.claim.ID); err != nil {
			t.Errorf("Pass: %v", err)
		}
	}
	heir.granted()
	other.waits()
}

func passToken(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	seen := rising{TB: t}
	holder := mutex(a.name())
	seen.next("the first", a.acquire(holder))
	heir := b.enqueue(mutex(holder.Name))
	if err := a.session.Pass(a.ctx, holder, heir.claim.ID); err != nil {
		t.Fatalf("Pass: %v", err)
	}
	seen.next("the heir", heir.granted())
}

func passRefused(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	holder := mutex(a.name())
	a.acquire(holder)
	waiter := b.enqueue(mutex(holder.Name))
	is(t, "Pass", a.session.Pass(a.ctx, holder, waiter.claim.ID), engine.ErrUnsupported)
	waiter.waits()
}
