package lockstep_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

// S1: the trust window.

func hangs(ctx context.Context, _ []*engine.Claim, _ renewFunc) (engine.Renewal, error) {
	<-ctx.Done()
	return engine.Renewal{}, ctx.Err()
}

func TestWindowClosesByItselfWhileRenewalHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		r.renew = hangs
		start := time.Now()
		l := lock(t, c.Mutex("n"))
		<-l.Context().Done()
		if got, want := time.Since(start), ttl-125*time.Millisecond; got != want {
			t.Errorf("context done %v after the session was begun; want %v", got, want)
		}
		wantErr(t, l.Err(), lockstep.ErrLost)
		wantErr(t, context.Cause(l.Context()), lockstep.ErrLost)
	})
}

func TestHolderIsToldBeforeTheNextIsGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		l := lock(t, c.Mutex("n"))
		time.Sleep(ttl) // some renewals succeed
		r.set(func() { r.cut = true })
		told := make(chan time.Time, 1)
		go func() { <-l.Context().Done(); told <- time.Now() }()
		next := lock(t, s.client().Mutex("n"))
		granted := time.Now()
		if margin := granted.Sub(<-told); margin < lockstep.Margin(ttl) {
			t.Errorf("the holder was told %v before the next was granted; want at least %v", margin, lockstep.Margin(ttl))
		}
		if next.Token() <= l.Token() {
			t.Errorf("token %d after %d", next.Token(), l.Token())
		}
	})
}

func TestWindowRunsFromWhenTheRenewalWasSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		var sent time.Time
		r.renew = func(ctx context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
			sent = time.Now()
			ren, err := next(ctx, cs)
			time.Sleep(ttl / 5) // the reply is slow
			return ren, err
		}
		l := lock(t, c.Mutex("n"))
		time.Sleep(ttl * 3 / 5)
		if got, want := l.Until(), sent.Add(ttl-lockstep.Margin(ttl)); !got.Equal(want) {
			t.Errorf("until %v after sending; want %v", got.Sub(sent), want.Sub(sent))
		}
	})
}

func TestReplyAfterTheWindowClosedProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		r.renew = func(_ context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
			ren, err := next(context.Background(), cs)
			time.Sleep(ttl) // as if this process had been stopped
			return ren, err
		}
		l := lock(t, c.Mutex("n"))
		<-l.Context().Done()
		time.Sleep(2 * ttl)
		wantErr(t, l.Err(), lockstep.ErrLost)
	})
}

func TestRenewalOfAProcessThatWasStoppedProvesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		var stopped atomic.Int64
		lockstep.SetClock(c, func() time.Time { return time.Now().Add(time.Duration(stopped.Load())) })
		l := lock(t, c.Mutex("n"))
		renewed := make(chan struct{})
		r.set(func() {
			r.renew = func(ctx context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
				defer close(renewed)
				ren, err := next(ctx, cs)
				// Between the reply and its reading no timer fired: the old
				// window has closed, the new one would still be open.
				stopped.Store(int64(ttl * 8 / 10))
				return ren, err
			}
		})
		<-renewed
		synctest.Wait()
		wantErr(t, l.Err(), lockstep.ErrLost)
	})
}

func TestProcessStoppedPastItsWindowLearnsItFromErr(t *testing.T) {
	c := newService(t).client()
	var stopped atomic.Int64
	lockstep.SetClock(c, func() time.Time { return time.Now().Add(time.Duration(stopped.Load())) })
	l := lock(t, c.Mutex("n"))
	wantNo(t, l.Err())
	stopped.Store(int64(ttl)) // no timer has fired, no renewal was tried
	wantErr(t, l.Err(), lockstep.ErrLost)
	stopped.Store(0)
	wantErr(t, l.Err(), lockstep.ErrLost) // what was told once stays
}

func TestWindowIsReplacedNotMaxed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		const short = 6 * time.Second
		var sent time.Time
		r.renew = func(ctx context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
			sent = time.Now()
			ren, err := next(ctx, cs)
			ren.TTL = short
			return ren, err
		}
		l := lock(t, c.Mutex("n"))
		time.Sleep(ttl/3 + time.Second)
		if got, want := l.Until(), sent.Add(short-lockstep.Margin(short)); !got.Equal(want) {
			t.Errorf("until %v after sending; want %v", got.Sub(sent), want.Sub(sent))
		}
	})
}

func TestWindowRunsFromWhatTheEngineProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		var proven time.Time
		r.renew = func(ctx context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
			proven = time.Now().Add(-time.Second)
			ren, err := next(ctx, cs)
			ren.Proven = proven
			return ren, err
		}
		l := lock(t, c.Mutex("n"))
		time.Sleep(ttl/3 + time.Second)
		if got, want := l.Until(), proven.Add(ttl-lockstep.Margin(ttl)); !got.Equal(want) {
			t.Errorf("until %v after the proof; want %v", got.Sub(proven), want.Sub(proven))
		}
	})
}

func TestTransientErrorIsNoLoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		tries := 0
		r.renew = func(ctx context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
			if tries++; tries%3 != 0 {
				return engine.Renewal{}, errNoReply
			}
			return next(ctx, cs)
		}
		l := lock(t, c.Mutex("n"))
		time.Sleep(20 * ttl)
		wantNo(t, l.Err())
	})
}

func TestShortGrantIsRenewedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		r.acquire = func(ctx context.Context, cl *engine.Claim, again bool, next acquireFunc) (engine.Grant, error) {
			g, err := next(ctx, cl, again)
			g.Until = time.Now().Add(time.Second)
			return g, err
		}
		l := lock(t, c.Mutex("n"))
		if until := time.Until(l.Until()); until >= time.Second {
			t.Errorf("trusted for %v; the grant was for 1 s", until)
		}
		time.Sleep(3 * ttl)
		wantNo(t, l.Err())
	})
}

func TestUnsureClaimIsNotProlongedAndOthersAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		away, here := lock(t, c.Mutex("away")), lock(t, c.Mutex("here"))
		r.set(func() {
			r.renew = func(ctx context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
				ren, err := next(ctx, cs)
				ren.Unsure = []engine.ClaimID{away.ID()}
				return ren, err
			}
		})
		time.Sleep(ttl)
		wantErr(t, away.Err(), lockstep.ErrLost)
		wantNo(t, here.Err())
	})
}

func TestSuspendedTimeCounts(t *testing.T) {
	c, _ := newService(t).rigged()
	var asleep atomic.Int64
	lockstep.SetSuspended(c, func() time.Duration { return time.Duration(asleep.Load()) })
	l := lock(t, c.Mutex("n"))
	wantNo(t, l.Err())
	asleep.Store(int64(ttl)) // Go's clock stood still meanwhile
	if !l.Until().Before(time.Now()) {
		t.Errorf("until %v; the machine was suspended for a TTL", l.Until())
	}
	wantErr(t, l.Err(), lockstep.ErrLost)
}

func TestTimeSuspendedAfterAnEarlierProofIsNotAddedToTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		var asleep atomic.Int64
		lockstep.SetSuspended(c, func() time.Duration { return time.Duration(asleep.Load()) })
		start := time.Now()
		renewed := make(chan struct{}, 1)
		r.renew = func(ctx context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
			ren, err := next(ctx, cs)
			ren.Proven = start // what this one proves is the request before it: Begin
			select {
			case renewed <- struct{}{}:
			default:
			}
			return ren, err
		}
		l := lock(t, c.Mutex("n"))
		const slept = ttl / 3
		time.Sleep(time.Second)
		asleep.Store(int64(slept)) // between Begin and the renewal
		<-renewed
		synctest.Wait()
		if got, want := l.Until(), start.Add(ttl-lockstep.Margin(ttl)-slept); !got.Equal(want) {
			t.Errorf("until %v after what was proven; want %v", got.Sub(start), want.Sub(start))
		}
	})
}

// stepped is t as it would read had the wall clock been stepped by d: the
// monotonic reading stays. It writes what time.Time documents as its layout.
func stepped(tb testing.TB, t time.Time, d time.Duration) time.Time {
	type layout struct {
		wall uint64 // 1 bit: has a monotonic reading; 33 bits: seconds; 30 bits: ns
		ext  int64
		loc  *time.Location
	}
	l := (*layout)(unsafe.Pointer(&t))
	if l.wall>>63 == 0 {
		tb.Error("a time of the clock has no monotonic reading")
		return t
	}
	seconds := int64(l.wall<<1>>31) + int64(d/time.Second)
	l.wall = 1<<63 | uint64(seconds)<<30 | l.wall&(1<<30-1)
	return t
}

func TestWallClockStepEndsAndProlongsNothing(t *testing.T) {
	for _, step := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		t.Run(step.String(), func(t *testing.T) {
			c := newService(t).client()
			var wall, passed atomic.Int64
			lockstep.SetClock(c, func() time.Time {
				return stepped(t, time.Now().Add(time.Duration(passed.Load())), time.Duration(wall.Load()))
			})
			l := lock(t, c.Mutex("n"))
			until := l.Until()
			wall.Store(int64(step))
			wantNo(t, l.Err())
			if moved := l.Until().Sub(until); moved != 0 {
				t.Errorf("the window moved by %v", moved)
			}
			passed.Store(int64(ttl))
			wantErr(t, l.Err(), lockstep.ErrLost)
		})
	}
}
