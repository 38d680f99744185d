package enginetest

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

var cancelChecks = []check{
	{rule: "a context that is done before enters nothing that stays", run: cancelledBefore},
	{rule: "a waiter obeys its context at once", run: cancelledWaiting},
	{rule: "cancelled as it is granted, a claim is held or not, never half", run: cancelledWhileGranted},
	{rule: "cancelled at any moment and withdrawn, nothing is left", run: cancelledAnytime},
	{rule: "an abandoned claim keeps its place until it is withdrawn", needs: needFIFO, run: abandonedKeepsItsPlace},
}

func cancelledBefore(t TB, s *suite) {
	a := s.client(t)
	ctx, cancel := context.WithCancel(a.ctx)
	cancel()
	cl := mutex(a.name())
	if _, err := a.attempt(ctx, cl, false); err != nil {
		is(t, "Acquire with a context that is done", err, context.Canceled)
	}
	if _, err := a.session.Release(a.ctx, cl); err != nil {
		t.Errorf("Release: %v", err)
	}
	a.acquire(try(mutex(cl.Name)))
}

func cancelledWaiting(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	a.acquire(mutex(name))
	b.enqueue(mutex(name)).leave()
	if l := a.line(name); len(l.Waiters) > 0 || len(l.Holders) != 1 {
		t.Errorf("after it left: %s", showLine(l))
	}
}

// cancelledWhileGranted races a holder's Release with a waiter's cancellation.
// Either way the claim's Release must end it and let the one behind in.
func cancelledWhileGranted(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	for range 15 {
		name := a.name()
		holder := mutex(name)
		a.acquire(holder)
		racer := b.enqueue(mutex(name))
		behind := a.enqueue(mutex(name))
		var both sync.WaitGroup
		both.Go(func() { racer.cancel() })
		both.Go(func() {
			if removed, err := a.session.Release(a.ctx, holder); err != nil || !removed {
				t.Errorf("Release: removed %v, %v", removed, a.cause(err))
			}
		})
		both.Wait()
		racer.returned()
		if racer.err != nil && !errors.Is(racer.err, context.Canceled) {
			t.Fatalf("Acquire: %v, want a grant or context.Canceled", racer.err)
		}
		if racer.err == nil {
			behind.waits()
		}
		b.release(racer.claim)
		behind.granted()
		a.release(behind.claim)
	}
}

// cancelledAnytime cancels at no chosen moment: before the request, within it,
// while it waits or as it is granted.
func cancelledAnytime(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	for i := range 25 {
		var holder *engine.Claim
		if i%2 == 0 {
			holder = mutex(name)
			a.acquire(holder)
		}
		p := b.begin(mutex(name), false)
		if i%3 == 0 {
			b.line(a.name()) // let it come a little further
		}
		p.cancel()
		p.returned()
		withdraw(t, s, b, p.claim)
		if holder != nil {
			a.release(holder)
		}
		if l := a.line(name); len(l.Holders)+len(l.Waiters) > 0 {
			t.Fatalf("attempt %d left %s", i, showLine(l))
		}
	}
}

// withdraw releases the claim until it can no longer arrive (S4).
func withdraw(t TB, s *suite, c *client, cl *engine.Claim) {
	t.Helper()
	end := time.Now().Add(s.info.Straggle)
	for {
		removed, err := c.session.Release(c.ctx, cl)
		if err != nil {
			t.Errorf("Release: %v", c.cause(err))
			return
		}
		if removed || !time.Now().Before(end) {
			return
		}
		time.Sleep(s.info.Straggle / 20)
	}
}

func abandonedKeepsItsPlace(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	holder := mutex(name)
	a.acquire(holder)
	gone, behind := b.enqueue(mutex(name)), a.enqueue(mutex(name))
	gone.abandon()
	if l := a.line(name); !has(l.Waiters, gone.claim.ID) {
		t.Fatalf("%s: the claim stays in line until the core releases it", showLine(l))
	}
	a.release(holder)
	a.await(name, "the abandoned claim's grant", func(l engine.Line) bool { return has(l.Holders, gone.claim.ID) })
	behind.waits()
	b.release(gone.claim)
	behind.granted()
}
