package memengine

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/lockstep-go/lockstep/engine"
)

func TestSessionEndsAtExactlyItsTTLAndTheNextIsGrantedThen(t *testing.T) {
	inBubble(t, func(w world) {
		start := time.Now()
		w.acquire(w.session(10*time.Second), mutex("n"))
		got := <-w.wait(w.session(time.Minute), mutex("n"))
		if got.err != nil || got.at.Sub(start) != 10*time.Second {
			w.Fatalf("granted after %v, error %v; want after exactly 10s", got.at.Sub(start), got.err)
		}
	})
}

func TestRenewMovesTheEndToExactlyOneTTLLater(t *testing.T) {
	inBubble(t, func(w world) {
		start := time.Now()
		a, c := w.session(10*time.Second), mutex("n")
		w.acquire(a, c)
		next := w.wait(w.session(time.Minute), mutex("n"))
		time.Sleep(10*time.Second - 1)
		if _, err := a.Renew(w.Context(), []*engine.Claim{c}); err != nil {
			w.Fatal(err)
		}
		if got := <-next; got.at.Sub(start) != 20*time.Second-1 {
			w.Fatalf("granted after %v, want one TTL after the renewal", got.at.Sub(start))
		}
	})
}

func TestNothingBringsASessionBackAtItsDeadline(t *testing.T) {
	inBubble(t, func(w world) {
		s := w.session(time.Second)
		s.timer.Stop() // it is late
		time.Sleep(time.Second)
		if _, err := s.Renew(w.Context(), nil); !errors.Is(err, engine.ErrSessionEnded) {
			w.Fatalf("Renew at the deadline: %v, want ErrSessionEnded", err)
		}
		if _, err := s.Acquire(w.Context(), mutex("n"), false); !errors.Is(err, engine.ErrSessionEnded) {
			w.Fatalf("Acquire after the deadline: %v, want ErrSessionEnded", err)
		}
	})
}

func TestAWaiterLearnsOfItsSessionsEndWhenItHappens(t *testing.T) {
	inBubble(t, func(w world) {
		w.acquire(w.session(time.Hour), mutex("n"))
		start := time.Now()
		got := <-w.wait(w.session(time.Second), mutex("n"))
		if !errors.Is(got.err, engine.ErrSessionEnded) || got.at.Sub(start) != time.Second {
			w.Fatalf("%v after %v, want ErrSessionEnded after exactly 1s", got.err, got.at.Sub(start))
		}
	})
}

func TestATermRunsFromItsGrantAndEndsByItself(t *testing.T) {
	inBubble(t, func(w world) {
		holder, first := w.session(time.Hour), mutex("n")
		w.acquire(holder, first)

		fixed := mutex("n")
		fixed.Term = time.Minute
		a := w.session(5 * time.Second)
		granted := w.wait(a, fixed)
		time.Sleep(3 * time.Second)
		if _, err := holder.Release(w.Context(), first); err != nil {
			w.Fatal(err)
		}
		g := <-granted
		if want := g.at.Add(time.Minute); !g.grant.Until.Equal(want) {
			w.Fatalf("until %v, want %v", g.grant.Until, want)
		}
		next := <-w.wait(w.session(time.Hour), mutex("n")) // outlives a's session
		if !next.at.Equal(g.grant.Until) {
			w.Fatalf("the next was granted at %v, the term ended at %v", next.at, g.grant.Until)
		}
	})
}

func TestARemovedTermsTimerTouchesNoLaterLine(t *testing.T) {
	inBubble(t, func(w world) {
		s := w.session(time.Hour)
		fixed := mutex("n")
		fixed.Term = time.Second
		w.acquire(s, fixed)
		if _, err := s.Release(w.Context(), fixed); err != nil {
			w.Fatal(err)
		}
		later := mutex("n")
		w.acquire(s, later)
		time.Sleep(time.Minute)
		if l := w.line("n"); len(l.Holders) != 1 || l.Holders[0].ID != later.ID {
			w.Fatalf("holders %+v, want the second claim", l.Holders)
		}
	})
}

func TestAgesCountFromTheGrantAndFromTheClaim(t *testing.T) {
	inBubble(t, func(w world) {
		s := w.session(time.Hour)
		w.acquire(s, mutex("n"))
		time.Sleep(3 * time.Second)
		w.wait(s, mutex("n"))
		time.Sleep(4 * time.Second)
		l := w.line("n")
		if l.Holders[0].Age != 7*time.Second || l.Waiters[0].Age != 4*time.Second {
			w.Fatalf("ages %v and %v, want 7s and 4s", l.Holders[0].Age, l.Waiters[0].Age)
		}
		s.End(context.Background(), nil)
		synctest.Wait()
	})
}

// withWall is a Time as time.Now makes it: the wall clock's reading is `by` from
// now, the monotonic one is the time since start. Package time has no function
// for that (and a bubble's own Times have no monotonic reading), so this writes
// the layout that the comment of time.Time describes.
func withWall(start, now time.Time, by time.Duration) time.Time {
	const hasMonotonic, nsecShift = 1 << 63, 30
	since1885 := now.Add(by).Unix() - time.Date(1885, 1, 1, 0, 0, 0, 0, time.UTC).Unix()
	var t time.Time
	layout := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	layout.wall = hasMonotonic | uint64(since1885)<<nsecShift | uint64(now.Nanosecond())
	layout.ext = int64(now.Sub(start))
	return t
}

func TestAWallClockStepEndsNothingAndProlongsNothing(t *testing.T) {
	for _, step := range []time.Duration{24 * time.Hour, -24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				var by atomic.Int64
				clock := func() time.Time { return withWall(start, time.Now(), time.Duration(by.Load())) }
				before := clock()
				by.Store(int64(step))
				if after := clock(); after.Round(0).Sub(before.Round(0)) != step || after.Sub(before) != 0 {
					t.Fatal("withWall does not step the wall clock alone: has time.Time changed?")
				}
				by.Store(0)

				w := world{t, NewService(WithClock(clock))}
				a, held, fixed := w.session(10*time.Second), mutex("session"), mutex("term")
				fixed.Term = 15 * time.Second
				w.acquire(a, held)
				w.acquire(a, fixed)
				b := w.session(time.Hour)
				afterSession, afterTerm := w.wait(b, mutex("session")), w.wait(b, mutex("term"))

				time.Sleep(4 * time.Second)
				by.Store(int64(step))
				if r, err := a.Renew(w.Context(), []*engine.Claim{held, fixed}); err != nil || len(r.Lost) > 0 {
					w.Fatalf("Renew after the step: %+v, %v", r, err)
				}
				time.Sleep(4 * time.Second)
				by.Store(0)
				if got := <-afterSession; got.at.Sub(start) != 14*time.Second {
					w.Errorf("session ended after %v, want 14s", got.at.Sub(start))
				}
				if got := <-afterTerm; got.at.Sub(start) != 15*time.Second {
					w.Errorf("term ended after %v, want 15s", got.at.Sub(start))
				}
			})
		})
	}
}
