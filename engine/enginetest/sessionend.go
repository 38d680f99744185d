package enginetest

import (
	"errors"
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

// The sessions here end against their client's will: the service forgets them.
var sessionEndChecks = []check{
	{rule: "its claims go and the next are let in", run: lapseLetsNextIn},
	{rule: "a waiter learns it at once, not when its turn comes", run: lapsedWaiterLearns},
	{rule: "an abandoned place goes too", run: lapsedPlaceGoes},
	{rule: "no call brings the session back", needs: needSessions, run: lapsedStaysEnded},
	{rule: "Renew says that its claims are lost", run: lapsedClaimsAreLost},
	{rule: "no call of it touches a successor", run: lapsedTouchesNobody},
	{rule: "End after it is no error", run: lapsedEnd},
	{rule: "the client goes on with a new session", run: lapsedGoesOn},
}

func lapseLetsNextIn(t TB, s *suite) {
	a, b := s.lapsing(t), s.client(t)
	x, y := a.name(), a.name()
	a.acquire(mutex(x))
	a.acquire(mutex(y))
	inX, inY := b.enqueue(mutex(x)), b.enqueue(mutex(y))
	a.lapse()
	inX.granted()
	inY.granted()
	if l := b.line(x); len(l.Holders) != 1 {
		t.Errorf("after a session ended: %s", showLine(l))
	}
}

func lapsedWaiterLearns(t TB, s *suite) {
	a, b := s.lapsing(t), s.client(t)
	name := b.name()
	holder := mutex(name)
	b.acquire(holder)
	waiter := a.enqueue(mutex(name))
	behind := b.enqueue(mutex(name))
	a.lapse()
	err := waiter.failed()
	if told := s.ClaimsOnly && errors.Is(err, engine.ErrNotFound); !told && !errors.Is(err, engine.ErrSessionEnded) {
		t.Errorf("a waiter whose session ended: %v, want ErrSessionEnded", err)
	}
	behind.waits()
	b.release(holder)
	behind.granted()
}

func lapsedPlaceGoes(t TB, s *suite) {
	a, b := s.lapsing(t), s.client(t)
	name := b.name()
	holder := mutex(name)
	b.acquire(holder)
	abandoned := a.enqueue(mutex(name))
	abandoned.abandon()
	behind := b.enqueue(mutex(name))
	a.lapse()
	b.await(name, "the ended session's place to go", func(l engine.Line) bool { return !has(l.Waiters, abandoned.claim.ID) })
	b.release(holder)
	behind.granted()
}

// lapsed is a client whose session has ended, and its former claim, whose
// successor holds now.
func lapsed(t TB, s *suite) (a, b *client, lost, successor *engine.Claim) {
	t.Helper()
	a, b = s.lapsing(t), s.client(t)
	lost = mutex(a.name())
	a.acquire(lost)
	next := b.enqueue(mutex(lost.Name))
	a.lapse()
	next.granted()
	return a, b, lost, next.claim
}

func lapsedStaysEnded(t TB, s *suite) {
	a, b, lost, _ := lapsed(t, s)
	for range 2 {
		_, err := a.session.Renew(a.ctx, []*engine.Claim{lost})
		is(t, "Renew", err, engine.ErrSessionEnded)
		free := mutex(a.name())
		is(t, "Acquire", a.refused(free), engine.ErrSessionEnded)
		if l := b.line(free.Name); len(l.Holders)+len(l.Waiters) > 0 {
			t.Errorf("an ended session's Acquire left %s", showLine(l))
		}
		_, err = a.attempt(a.ctx, lost, true)
		is(t, "Acquire again", err, engine.ErrSessionEnded)
	}
}

func lapsedClaimsAreLost(t TB, s *suite) {
	a, _, lost, _ := lapsed(t, s)
	r, err := a.session.Renew(a.ctx, []*engine.Claim{lost})
	if told := err == nil && s.ClaimsOnly && slices.Equal(r.Lost, claimIDs{lost.ID}); !told && !errors.Is(err, engine.ErrSessionEnded) {
		t.Errorf("Renew: %+v, %v; want ErrSessionEnded, or its claim lost from a service that knows no sessions", r, err)
	}
}

func lapsedTouchesNobody(t TB, s *suite) {
	a, b, lost, successor := lapsed(t, s)
	if removed, err := a.session.Release(a.ctx, lost); removed || (err != nil && !errors.Is(err, engine.ErrSessionEnded)) {
		t.Errorf("Release: removed %v, %v", removed, err)
	}
	a.session.Renew(a.ctx, []*engine.Claim{lost})
	if err := a.session.SetNote(a.ctx, lost, []byte("x")); err == nil {
		t.Errorf("SetNote of a lost claim succeeded")
	}
	if err := a.session.End(a.ctx, []*engine.Claim{lost}); err != nil {
		t.Errorf("End: %v", err)
	}
	if l := b.line(lost.Name); !slices.Equal(ids(l.Holders), []engine.ClaimID{successor.ID}) || len(l.Holders[0].Note) > 0 {
		t.Errorf("calls of an ended session changed the line: %s (S3)", showLine(l))
	}
}

func lapsedEnd(t TB, s *suite) {
	a, _, lost, _ := lapsed(t, s)
	for range 2 {
		if err := a.session.End(a.ctx, []*engine.Claim{lost}); err != nil {
			t.Errorf("End: %v", err)
		}
	}
}

func lapsedGoesOn(t TB, s *suite) {
	a, _, _, _ := lapsed(t, s)
	again := s.on(t, a.engine, engine.SessionOptions{TTL: longTTL})
	again.acquire(mutex(again.name()))
}
