package lockstep_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// S4: a request whose reply was lost may have been carried out.

func TestGrantWhoseReplyWasLostIsAdopted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		tries := 0
		r.acquire = func(ctx context.Context, cl *engine.Claim, again bool, next acquireFunc) (engine.Grant, error) {
			g, err := next(ctx, cl, again)
			if tries++; tries < 4 {
				return engine.Grant{}, errNoReply
			}
			return g, err
		}
		l := lock(t, c.Mutex("n"))
		if tries != 4 {
			t.Errorf("%d tries", tries)
		}
		line, err := c.Line(t.Context(), "n")
		wantNo(t, err)
		if len(line.Holders) != 1 || len(line.Waiters) != 0 || line.Holders[0].Token != l.Token() {
			t.Errorf("line is %+v; want the one holder with token %d", line, l.Token())
		}
	})
}

func TestClaimThatItsCallerGaveUpOnIsWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		ctx, cancel := context.WithCancel(t.Context())
		r.acquire = func(_ context.Context, cl *engine.Claim, again bool, next acquireFunc) (engine.Grant, error) {
			_, err := next(context.Background(), cl, again) // granted, and nobody hears of it
			wantNo(t, err)
			cancel()
			return engine.Grant{}, errNoReply
		}
		_, err := c.Mutex("n").Lock(ctx)
		wantErr(t, err, context.Canceled)
		lock(t, s.client().Mutex("n"))
	})
}

func TestStragglingAcquireIsWithdrawnWhenItArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		r := &rig{Engine: s.s.Engine(), info: func(i *engine.Info) { i.Straggle = 3 * time.Second }}
		c := s.over(r)
		ctx, cancel := context.WithCancel(t.Context())
		arrived := make(chan struct{})
		r.acquire = func(_ context.Context, cl *engine.Claim, again bool, next acquireFunc) (engine.Grant, error) {
			go func() {
				time.Sleep(2 * time.Second) // the request is late
				_, _ = next(context.Background(), cl, again)
				close(arrived)
			}()
			cancel()
			return engine.Grant{}, errNoReply
		}
		_, err := c.Mutex("n").Lock(ctx)
		wantErr(t, err, context.Canceled)
		<-arrived
		start := time.Now()
		lock(t, s.client().Mutex("n"))
		if took := time.Since(start); took > r.Info().Straggle {
			t.Errorf("the late claim stood in the way for %v", took)
		}
	})
}

func TestDuplicateOfAReleasedClaimIsWithdrawnWhenItArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		r := &rig{Engine: s.s.Engine(), info: func(i *engine.Info) { i.Straggle = 3 * time.Second }}
		c := s.over(r)
		arrived := make(chan struct{})
		r.acquire = func(ctx context.Context, cl *engine.Claim, again bool, next acquireFunc) (engine.Grant, error) {
			if again {
				return next(ctx, cl, again)
			}
			go func() {
				time.Sleep(2 * time.Second)
				_, _ = next(context.Background(), cl, again)
				close(arrived)
			}()
			return engine.Grant{}, errNoReply
		}
		wantNo(t, lock(t, c.Mutex("n")).Release(t.Context()))
		<-arrived
		start := time.Now()
		lock(t, s.client().Mutex("n"))
		if took := time.Since(start); took > r.Info().Straggle {
			t.Errorf("the late claim stood in the way for %v", took)
		}
	})
}

func TestReleaseWithADoneContextStillGivesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		l := lock(t, s.client().Mutex("n"))
		done, cancel := context.WithCancel(t.Context())
		cancel()
		wantErr(t, l.Release(done), context.Canceled)
		start := time.Now()
		lock(t, s.client().Mutex("n"))
		if took := time.Since(start); took != 0 {
			t.Errorf("it was given back after %v; some audit did it", took)
		}
	})
}

func TestReleaseWhoseReplyWasLostIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		l := lock(t, c.Mutex("n"))
		tries := 0
		r.set(func() {
			r.release = func(ctx context.Context, cl *engine.Claim, next releaseFunc) (bool, error) {
				if tries++; tries == 1 {
					return false, errNoReply // never arrived
				}
				return next(ctx, cl)
			}
		})
		wantNo(t, l.Release(t.Context()))
		lock(t, s.client().Mutex("n"))
	})
}

func TestReleaseTwiceIsNoError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := lock(t, newService(t).client().Mutex("n"))
		wantNo(t, l.Release(t.Context()))
		wantNo(t, l.Release(t.Context()))
		wantErr(t, l.Err(), lockstep.ErrReleased)
	})
}

func TestReleaseOfALeaseThatIsGoneSaysLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		l := lock(t, s.client().Mutex("n"))
		wantNo(t, s.client().Remove(t.Context(), "n", l.ID()))
		next := lock(t, s.client().Mutex("n"))
		wantErr(t, l.Release(t.Context()), lockstep.ErrLost)
		wantNo(t, next.Err())
		_, err := s.client().Mutex("n").TryLock(t.Context())
		wantErr(t, err, lockstep.ErrHeld) // S3: the release took nobody else's
	})
}

func TestWaiterThatLeavesIsOutOfTheLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		holder := lock(t, s.client().Mutex("n"))
		ctx, cancel := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() { _, err := s.client().Mutex("n").Lock(ctx); left <- err }()
		synctest.Wait()
		cancel()
		wantErr(t, <-left, context.Canceled)
		synctest.Wait()
		line, err := s.client().Line(t.Context(), "n")
		wantNo(t, err)
		if len(line.Waiters) != 0 || len(line.Holders) != 1 {
			t.Errorf("line is %+v", line)
		}
		wantNo(t, holder.Release(t.Context()))
	})
}

// A third of all replies is lost, callers give up at random: in the end the
// name is free, and at no time two held it.
func TestLossyNetworkLeavesNoClaimBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var held, entered atomic.Int32
		var calls atomic.Int64
		lossy := func() bool { return calls.Add(7)%3 == 0 }
		workers := make(chan struct{}, 5)
		for i := range cap(workers) {
			c, r := s.rigged()
			r.acquire = func(ctx context.Context, cl *engine.Claim, again bool, next acquireFunc) (engine.Grant, error) {
				g, err := next(ctx, cl, again)
				if lossy() {
					return engine.Grant{}, errNoReply
				}
				return g, err
			}
			r.release = func(ctx context.Context, cl *engine.Claim, next releaseFunc) (bool, error) {
				removed, err := next(ctx, cl)
				if lossy() {
					return false, errNoReply
				}
				return removed, err
			}
			go func() {
				defer func() { workers <- struct{}{} }()
				for j := range 40 {
					ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+(i*j)%7)*time.Second)
					_ = c.Mutex("n").Do(ctx, func(context.Context) error {
						if held.Add(1) > 1 {
							t.Error("two hold it")
						}
						entered.Add(1)
						time.Sleep(100 * time.Millisecond)
						held.Add(-1)
						return nil
					})
					cancel()
				}
			}()
		}
		for range cap(workers) {
			<-workers
		}
		lock(t, s.client().Mutex("n"))
		if entered.Load() < 50 {
			t.Errorf("only %d of 200 got in; the test shows nothing", entered.Load())
		}
	})
}

func TestUnusableEngineIsNotAskedForTheLockAgain(t *testing.T) {
	c, r := (&service{t, memengine.NewService()}).rigged()
	tries := 0
	r.acquire = func(context.Context, *engine.Claim, bool, acquireFunc) (engine.Grant, error) {
		tries++
		return engine.Grant{}, engine.ErrUnusable
	}
	_, err := c.Mutex("n").Lock(t.Context())
	wantErr(t, err, lockstep.ErrUnavailable)
	if tries != 1 {
		t.Errorf("asked %d times", tries)
	}
}
