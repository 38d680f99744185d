package lockstep_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func TestNobodyGoesBeforeAllHaveArrived(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		gone := make(chan error, 3)
		for range 3 {
			synctest.Wait()
			if len(gone) > 0 {
				t.Fatal("somebody has gone too early")
			}
			b := s.client().Barrier("start", 3)
			go func() { gone <- b.Wait(t.Context()) }()
		}
		for range 3 {
			wantNo(t, <-gone)
		}
		wantNobodyAt(t, s, "start")
	})
}

func wantNobodyAt(t *testing.T, s *service, name string) {
	t.Helper()
	synctest.Wait()
	line, err := s.s.Engine().Line(t.Context(), ".barrier."+name)
	if wantNo(t, err); len(line.Holders) > 0 {
		t.Errorf("in line: %+v", line.Holders)
	}
}

// Each goes round as often as it likes; no one is ever a round ahead of another.
func TestABarrierIsUsedAgainAndAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, rounds = 5, 30
		s := newService(t)
		var arrived atomic.Int64
		var all sync.WaitGroup
		for i := range n {
			b := s.client().Barrier("round", n)
			all.Go(func() {
				for round := range rounds {
					time.Sleep(time.Duration(i*round%7) * time.Second)
					arrived.Add(1)
					if err := b.Wait(t.Context()); err != nil {
						t.Error(err)
						return
					}
					if got := arrived.Load(); got < int64((round+1)*n) {
						t.Errorf("through round %d after %d arrivals", round, got)
					}
				}
			})
		}
		all.Wait()
		wantNobodyAt(t, s, "round")
	})
}

func TestThoseWhoEnteredLeaveTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var inside atomic.Int64
		var all sync.WaitGroup
		start := time.Now()
		for i := range 3 {
			b := s.client().Barrier("batch", 3)
			all.Go(func() {
				for range 2 {
					stay, err := b.Enter(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					inside.Add(1)
					time.Sleep(time.Duration(i) * time.Minute)
					inside.Add(-1)
					if err := stay.Leave(t.Context()); err != nil {
						t.Error(err)
					}
					if n := inside.Load(); n != 0 && stay.Phase() == 2 {
						t.Errorf("left while %d were inside", n)
					}
				}
			})
		}
		all.Wait()
		if took := time.Since(start).Truncate(time.Second); took != 4*time.Minute { // less the pauses after conflicts
			t.Errorf("two phases of two minutes took %v", took)
		}
		wantNobodyAt(t, s, "batch")
	})
}

// One that crashes while it waits, or before it has left, leaves with its session.
func TestWhereverOneDiesTheOthersGoOn(t *testing.T) {
	everyDeath(t, func(t *testing.T, d death) int {
		s := newService(t)
		doomed, m := s.mortal(d)
		victim, kill := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			stay, err := doomed.Barrier("batch", 3).Enter(victim)
			if err == nil && m.step(victim) == nil {
				stay.Leave(victim)
			}
		}()
		synctest.Wait()
		var all sync.WaitGroup
		var through atomic.Int64
		for range 2 { // and one that takes the dead one's place
			c := s.client()
			all.Go(func() {
				for range 2 {
					stay, err := c.Barrier("batch", 3).Enter(t.Context())
					if err != nil {
						t.Errorf("%+v: %v", d, err)
						return
					}
					if err := stay.Leave(t.Context()); err != nil {
						t.Errorf("%+v: %v", d, err)
					}
					through.Add(1)
				}
			})
		}
		for through.Load() < 4 {
			time.Sleep(2 * ttl)
			heir, leave := context.WithTimeout(t.Context(), time.Second)
			if stay, err := s.client().Barrier("batch", 3).Enter(heir); err == nil {
				wantNo(t, stay.Leave(t.Context()))
			}
			leave()
		}
		all.Wait()
		kill()
		<-done
		return m.made()
	})
}

func TestWhoGivesUpWaitingLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, s.client().Barrier("start", 2).Wait(ctx), context.DeadlineExceeded)
		wantNobodyAt(t, s, "start")
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wantErr(t, s.client().Barrier("start", 2).Wait(short), context.DeadlineExceeded)
	})
}

func TestWhoLosesItsSessionWhileWaitingIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		told := make(chan error, 1)
		go func() { told <- c.Barrier("start", 2).Wait(t.Context()) }()
		synctest.Wait()
		r.set(func() { r.cut = true })
		err := <-told
		wantErr(t, err, lockstep.ErrLost)
		if errors.Is(err, context.Canceled) {
			t.Errorf("it looks like its caller's own end: %v", err)
		}

		inside, r := s.rigged()
		stay, err := inside.Barrier("alone", 1).Enter(t.Context())
		wantNo(t, err)
		r.set(func() { r.cut = true })
		<-stay.Context().Done()
		wantErr(t, stay.Leave(t.Context()), lockstep.ErrLost)
	})
}

func TestABarrierRefusesAnotherNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		first := make(chan error, 2)
		for range 2 {
			c := s.client()
			defer func() { wantNo(t, <-first) }()
			go func() { first <- c.Barrier("start", 3).Wait(t.Context()) }()
		}
		synctest.Wait()
		err := s.client().Barrier("start", 2).Wait(t.Context())
		wantErr(t, err, lockstep.ErrMismatch)
		if !strings.Contains(err.Error(), "waits at the barrier for 3") {
			t.Error(err)
		}
		wantNo(t, s.client().Barrier("start", 3).Wait(t.Context()))
		for _, n := range []int{-1, 0, lockstep.MaxBarrier + 1} {
			wantErr(t, s.client().Barrier("start", n).Wait(t.Context()), lockstep.ErrInvalid)
		}
		wantErr(t, new(lockstep.Barrier).Wait(t.Context()), lockstep.ErrInvalid)
	})
}

// S13: whoever has arrived with another version is not counted without a word.
func TestArrivalsOfANewerLayoutAreRefused(t *testing.T) {
	for note, want := range map[string]error{
		`{"layout":2,"n":"in a form of its own"}`: lockstep.ErrUnsupported,
		`{"layout":2,"n":2}`:                      lockstep.ErrUnsupported,
		`{"layout":1,"n":2,"new":true}`:           nil,
		`host 7`:                                  lockstep.ErrMismatch,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			session, err := s.s.Engine().Begin(t.Context(), engine.SessionOptions{TTL: time.Hour})
			wantNo(t, err)
			claim := engine.Claim{ID: "theirs", Name: ".barrier.n", Kind: engine.Group, Shares: 1, Limit: engine.Unlimited, Note: []byte(note)}
			_, err = session.Acquire(t.Context(), &claim, false)
			wantNo(t, err)
			if err := s.client().Barrier("n", 2).Wait(t.Context()); !errors.Is(err, want) {
				t.Errorf("beside %s: %v; want %v", note, err, want)
			}
			wantNo(t, session.End(t.Context(), []*engine.Claim{&claim}))
		})
	}
}

// Whoever is last in line begins for all before it: they may have died as they
// arrived, or stand still, and then nobody else looks again.
func TestWhoArrivesGoesWhateverBecameOfThoseBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		session, err := s.s.Engine().Begin(t.Context(), engine.SessionOptions{TTL: time.Hour})
		wantNo(t, err)
		var silent []*engine.Claim
		for i := range 4 {
			c := &engine.Claim{
				ID: engine.ClaimID(rune('a' + i)), Name: ".barrier.start", Kind: engine.Group, Shares: 1, Limit: engine.Unlimited,
				Note: []byte(`{"layout":1,"n":2}`),
			}
			_, err := session.Acquire(t.Context(), c, false)
			wantNo(t, err)
			silent = append(silent, c)
		}
		look := make(chan struct{})
		gone := make(chan error, 2)
		for range 2 {
			c, r := s.rigged()
			r.line = func(ctx context.Context, next lineFunc) (engine.Line, error) {
				<-look
				return next(ctx)
			}
			go func() { gone <- c.Barrier("start", 2).Wait(t.Context()) }()
		}
		synctest.Wait() // both are in line, and neither has looked
		close(look)
		time.Sleep(time.Minute)
		if len(gone) != 2 {
			t.Fatalf("%d of two have gone", len(gone))
		}
		for range 2 {
			wantNo(t, <-gone)
		}
		wantNo(t, session.End(t.Context(), silent))
	})
}

// A member that is stopped while later phases begin still finds its own.
func TestASlowMemberFindsItsPhase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, sh := s.shelved()
		hear := make(chan struct{})
		sh.watch = func(ctx context.Context, after engine.Revision) iter.Seq2[engine.Event, error] {
			select {
			case <-hear:
			case <-ctx.Done():
			}
			return sh.Engine.Store().Watch(ctx, ".phases.start", after)
		}
		slow := make(chan error, 1)
		go func() { slow <- c.Barrier("start", 2).Wait(t.Context()) }()
		synctest.Wait()
		for phase := range 5 {
			n := 2
			if phase == 0 {
				n = 1 // with the slow one
			}
			var all sync.WaitGroup
			for range n {
				b := s.client().Barrier("start", 2)
				all.Go(func() {
					if err := b.Wait(t.Context()); err != nil {
						t.Errorf("phase %d: %v", phase, err)
					}
				})
			}
			all.Wait()
			time.Sleep(time.Second)
		}
		if len(slow) > 0 {
			t.Fatal("it was not slow")
		}
		close(hear)
		wantNo(t, <-slow)
	})
}
