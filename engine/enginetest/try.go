package enginetest

import (
	"bytes"
	"errors"
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

var tryChecks = []check{
	{rule: "Try takes what is free", run: tryTakesWhatIsFree},
	{rule: "Try of what is held says who holds and leaves nothing", run: tryOfHeld},
	{rule: "Try does not pass those who wait", needs: needFIFO | needSemaphore, run: tryDoesNotPass},
	{rule: "Try takes free shares beside others", needs: needSemaphore, run: tryTakesFreeShares},
	{rule: "Try again after a refusal starts anew", run: tryAgain},
}

func tryTakesWhatIsFree(t TB, s *suite) {
	a := s.client(t)
	cl := try(mutex(a.name()))
	g := a.acquire(cl)
	l := a.line(cl.Name)
	if !slices.Equal(ids(l.Holders), []engine.ClaimID{cl.ID}) || g.Token == 0 {
		t.Errorf("token %d, %s", g.Token, showLine(l))
	}
	a.release(cl)
}

func tryOfHeld(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held := mutex(name)
	held.Note = []byte("the holder's note")
	a.acquire(held)
	for _, c := range []*client{a, b} { // the same session is no exception
		cl := try(mutex(name))
		err := c.refused(cl)
		is(t, "Try", err, engine.ErrHeld)
		var who *engine.HeldError
		if !errors.As(err, &who) {
			t.Fatalf("Try: %v, want a *HeldError", err)
		}
		if l := who.Line; !slices.Equal(ids(l.Holders), []engine.ClaimID{held.ID}) || !bytes.Equal(l.Holders[0].Note, held.Note) {
			t.Errorf("Try names %s, want %s and its note", showLine(l), held.ID)
		}
	}
	if l := a.line(name); len(l.Waiters) > 0 || len(l.Holders) != 1 {
		t.Errorf("a failed Try left something: %s", showLine(l))
	}
	a.release(held)
	if l := a.line(name); len(l.Waiters)+len(l.Holders) > 0 {
		t.Errorf("a failed Try came back: %s", showLine(l))
	}
}

func tryDoesNotPass(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	a.acquire(semaphore(name, 1, 2))
	heavy := b.enqueue(semaphore(name, 2, 2))
	is(t, "Try of a free share that another waits for", a.refused(try(semaphore(name, 1, 2))), engine.ErrHeld)
	heavy.waits()
}

func tryTakesFreeShares(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	a.acquire(semaphore(name, 2, 3))
	is(t, "Try of too many", b.refused(try(semaphore(name, 2, 3))), engine.ErrHeld)
	b.acquire(try(semaphore(name, 1, 3)))
	is(t, "Try of a full one", b.refused(try(semaphore(name, 1, 3))), engine.ErrHeld)
}

func tryAgain(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held, cl := mutex(name), try(mutex(name))
	a.acquire(held)
	is(t, "Try", b.refused(cl), engine.ErrHeld)
	_, err := b.attempt(b.ctx, cl, true)
	is(t, "Try again", err, engine.ErrHeld)
	a.release(held)
	g, err := b.attempt(b.ctx, cl, true)
	if err != nil {
		t.Fatalf("Try of a free name, again: %v", err)
	}
	repeat, err := b.attempt(b.ctx, cl, true)
	if err != nil || repeat.Token < g.Token {
		t.Errorf("Try of what it holds, again: token %d, %v; want token %d or later", repeat.Token, err, g.Token)
	}
}
