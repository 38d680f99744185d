package enginetest

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// onBadNetwork is a faulty session, and a client that sees what arrived of it.
func onBadNetwork(t *testing.T, check func(b *client, f *FaultyEngine, seen *client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		service := memengine.NewService()
		s := newSuite(t, Harness{Open: func(TB) engine.Engine { return service.Engine() }})
		b, f := s.faulty(t)
		check(b, f, s.client(t))
	})
}

// send is one Acquire that must end in doubt.
func (c *client) send(cl *engine.Claim) {
	c.Helper()
	_, err := c.attempt(c.ctx, cl, false)
	if !errors.Is(err, ErrFault) || engine.Definite(err) {
		c.Fatalf("Acquire: %v, want ErrFault, which says nothing for certain", err)
	}
}

func TestADroppedRequestNeverArrives(t *testing.T) {
	onBadNetwork(t, func(b *client, f *FaultyEngine, seen *client) {
		cl := mutex(b.name())
		f.On(Acquire, 1, DropRequest)
		b.send(cl)
		time.Sleep(straggle)
		seen.wantLine("in the end", cl.Name, claimIDs{}, claimIDs{})
	})
}

func TestADroppedReplyWasCarriedOut(t *testing.T) {
	onBadNetwork(t, func(b *client, f *FaultyEngine, seen *client) {
		cl := mutex(b.name())
		f.On(Acquire, 1, DropReply)
		b.send(cl)
		seen.wantLine("at once", cl.Name, claimIDs{cl.ID}, claimIDs{})
	})
}

func TestALateRequestArrivesAfterItsCallerGaveUp(t *testing.T) {
	onBadNetwork(t, func(b *client, f *FaultyEngine, seen *client) {
		holder, late := mutex(b.name()), mutex("")
		late.Name = holder.Name
		seen.acquire(holder)
		f.On(Acquire, 1, Late)
		b.send(late)
		seen.wantLine("at once", holder.Name, claimIDs{holder.ID}, claimIDs{})
		sent := time.Now()
		f.Arrived()
		if took := time.Since(sent); took > f.Info().Straggle {
			t.Errorf("it arrived after %v, Info.Straggle is %v", took, f.Info().Straggle)
		}
		seen.wantLine("later", holder.Name, claimIDs{holder.ID}, claimIDs{late.ID})
	})
}

func TestACutAcquireStaysInLine(t *testing.T) {
	onBadNetwork(t, func(b *client, f *FaultyEngine, seen *client) {
		holder, cut := mutex(b.name()), mutex("")
		cut.Name = holder.Name
		seen.acquire(holder)
		f.On(Acquire, 1, Cut)
		b.send(cut)
		seen.wantLine("after it", holder.Name, claimIDs{holder.ID}, claimIDs{cut.ID})
	})
}

func TestACallSentTwiceHasTheSecondAnswer(t *testing.T) {
	onBadNetwork(t, func(b *client, f *FaultyEngine, _ *client) {
		cl := mutex(b.name())
		b.acquire(cl)
		f.On(Release, 1, Twice)
		if removed, err := b.session.Release(b.ctx, cl); removed || err != nil {
			t.Errorf("Release, sent twice: removed %v, %v", removed, err)
		}
	})
}

func TestADelayedCallArrivesAMomentLater(t *testing.T) {
	onBadNetwork(t, func(b *client, f *FaultyEngine, _ *client) {
		sent := time.Now()
		f.On(Acquire, 1, Delay)
		b.acquire(mutex(b.name()))
		if took := time.Since(sent); took != lateAfter {
			t.Errorf("it took %v, want %v", took, lateAfter)
		}
	})
}

func TestAWatchBreaksAtTheItemThatWasChosen(t *testing.T) {
	onBadNetwork(t, func(b *client, f *FaultyEngine, seen *client) {
		m := b.name()
		first := seen.commit(m, put("k", "1"))
		f.On(Watch, 2, DropRequest)
		var shown []engine.Revision
		var end error
		for ev, err := range b.engine.Store().Watch(b.ctx, m, 0) {
			if end = err; err != nil {
				break
			}
			shown = append(shown, ev.Revision)
			seen.commit(m, put("k", "2"))
		}
		if len(shown) != 1 || shown[0] != first || !errors.Is(end, ErrFault) {
			t.Errorf("shown %v, then %v", shown, end)
		}
	})
}

func TestAFaultMeetsTheCallThatWasChosen(t *testing.T) {
	onBadNetwork(t, func(b *client, f *FaultyEngine, _ *client) {
		b.line(b.name())
		f.On(Line, 2, DropRequest)
		b.line(b.name())
		if _, err := b.engine.Line(b.ctx, b.name()); !errors.Is(err, ErrFault) {
			t.Errorf("the second Line from now: %v, want ErrFault", err)
		}
		b.line(b.name())
		if n := f.Met(DropRequest); n != 1 {
			t.Errorf("%d requests were dropped, want 1", n)
		}
	})
}

func TestARandomPlanHasItsShareAndHeals(t *testing.T) {
	onBadNetwork(t, func(b *client, f *FaultyEngine, _ *client) {
		name := b.name()
		f.Random(1, 0.25, DropRequest, DropReply)
		for range 400 {
			b.engine.Line(b.ctx, name)
		}
		if n := f.Met(DropRequest) + f.Met(DropReply); n < 60 || n > 140 {
			t.Errorf("%d of 400 calls met a fault, want about 100", n)
		}
		f.Heal()
		for range 50 {
			b.line(name)
		}
	})
}

func TestASessionWhoseReplyWasLostEndsWithItsEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := Faulty(memengine.New())
		f.On(Begin, 1, DropReply)
		if _, err := f.Begin(t.Context(), engine.SessionOptions{TTL: time.Hour}); !errors.Is(err, ErrFault) {
			t.Errorf("Begin: %v, want ErrFault", err)
		}
		if len(f.orphans) != 1 {
			t.Errorf("%d sessions were begun, want 1", len(f.orphans))
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
}
