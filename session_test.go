package lockstep_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func TestClientGoesOnWithANewSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		first := lock(t, c.Mutex("n"))
		r.set(func() { r.cut = true })
		<-first.Context().Done()
		r.set(func() { r.cut = false })
		second := lock(t, c.Mutex("n"))
		wantNo(t, second.Err())
		wantErr(t, first.Err(), lockstep.ErrLost)
		if second.Token() <= first.Token() {
			t.Errorf("token %d after %d", second.Token(), first.Token())
		}
	})
}

func TestLostSessionEndsEveryLeaseAndEveryWaiterAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		other := lock(t, s.client().Mutex("held"))
		a, b := lock(t, c.Mutex("a")), lock(t, c.Mutex("b"))
		waiter := make(chan error, 1)
		go func() { _, err := c.Mutex("held").Lock(t.Context()); waiter <- err }()
		synctest.Wait()
		r.set(func() {
			r.renew = func(context.Context, []*engine.Claim, renewFunc) (engine.Renewal, error) {
				return engine.Renewal{}, engine.ErrSessionEnded
			}
		})
		start := time.Now()
		err := <-waiter
		if took := time.Since(start); took > ttl/3 {
			t.Errorf("the waiter learned it after %v", took)
		}
		wantErr(t, err, lockstep.ErrLost)
		wantErr(t, a.Err(), lockstep.ErrLost)
		wantErr(t, b.Err(), lockstep.ErrLost)
		wantNo(t, other.Err())
	})
}

// Claims that are between two requests when their session is lost are told as those
// that wait are. The race detector sees whether they get into each other's way.
func TestLostSessionEndsClaimsThatAreAboutToAskAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		lock(t, c.Mutex("a"))
		r.set(func() {
			r.acquire = func(context.Context, *engine.Claim, bool, acquireFunc) (engine.Grant, error) {
				return engine.Grant{}, errors.New("no reply")
			}
		})
		const n = 20
		asking := make(chan error, n)
		for i := range n {
			go func() { _, err := c.Mutex(fmt.Sprint("n", i)).Lock(t.Context()); asking <- err }()
		}
		synctest.Wait()
		r.set(func() {
			r.renew = func(context.Context, []*engine.Claim, renewFunc) (engine.Renewal, error) {
				return engine.Renewal{}, engine.ErrSessionEnded
			}
		})
		for range n {
			wantErr(t, <-asking, lockstep.ErrLost)
		}
	})
}

func TestWaiterOfAnUnreachableEngineIsToldUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		lock(t, s.client().Mutex("n"))
		waiter := make(chan error, 1)
		go func() { _, err := c.Mutex("n").Lock(t.Context()); waiter <- err }()
		synctest.Wait()
		r.set(func() { r.renew = hangs })
		err := <-waiter
		wantErr(t, err, lockstep.ErrUnavailable)
		if errors.Is(err, lockstep.ErrHeld) || errors.Is(err, lockstep.ErrLost) {
			t.Errorf("error %v says more than is known", err)
		}
	})
}

func TestPushedLossEndsTheLeaseWithoutARenewal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		a, b := lock(t, c.Mutex("a")), lock(t, c.Mutex("b"))
		start := time.Now()
		r.lost(a.ID(), errors.New("pushed"))
		wantErr(t, a.Err(), lockstep.ErrLost)
		wantNo(t, b.Err())
		r.lost("", errors.New("pushed"))
		<-b.Context().Done()
		wantErr(t, b.Err(), lockstep.ErrLost)
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestClaimThatARenewalDoesNotFindIsLostAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		a, b := lock(t, c.Mutex("a")), lock(t, c.Mutex("b"))
		wantNo(t, s.client().Remove(t.Context(), "a", a.ID()))
		time.Sleep(ttl / 2)
		wantErr(t, a.Err(), lockstep.ErrLost)
		wantNo(t, b.Err())
	})
}

func TestGrantThatARunningRenewalDidNotFindIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		lock(t, c.Mutex("first")) // the session exists
		asked, answer := make(chan struct{}), make(chan struct{})
		r.set(func() {
			r.renew = func(ctx context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
				ren, err := next(ctx, cs[:1])
				for _, cl := range cs {
					if cl.Name == "late" {
						ren.Lost = append(ren.Lost, cl.ID)
					}
				}
				select {
				case asked <- struct{}{}:
					<-answer
				default:
				}
				return ren, err
			}
			r.acquire = func(ctx context.Context, cl *engine.Claim, again bool, next acquireFunc) (engine.Grant, error) {
				if !again {
					<-asked // the renewal was sent while this claim was on its way
				}
				return next(ctx, cl, again)
			}
		})
		l := lock(t, c.Mutex("late"))
		r.set(func() { r.renew = nil })
		close(answer)
		time.Sleep(3 * ttl)
		wantNo(t, l.Err())
	})
}

func TestWaiterThatARenewalDoesNotFindLooksAgainAndKeepsItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		holder := lock(t, s.client().Mutex("n"))
		looked := make(chan struct{}, 100)
		r.acquire = func(ctx context.Context, cl *engine.Claim, again bool, next acquireFunc) (engine.Grant, error) {
			if again {
				looked <- struct{}{}
			}
			return next(ctx, cl, again)
		}
		r.renew = func(ctx context.Context, cs []*engine.Claim, next renewFunc) (engine.Renewal, error) {
			ren, err := next(ctx, cs)
			for _, cl := range cs {
				ren.Lost = append(ren.Lost, cl.ID) // a false alarm
			}
			return ren, err
		}
		first := make(chan *lockstep.Lease, 1)
		go func() { first <- lock(t, c.Mutex("n")) }()
		synctest.Wait()
		go func() { _, _ = s.client().Mutex("n").Lock(t.Context()) }()
		<-looked
		r.set(func() { r.renew = nil })
		synctest.Wait()
		wantNo(t, holder.Release(t.Context()))
		<-first
	})
}

func TestBeginIsSharedAndObeysEachCallersContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		begun := 0
		r.begin = func(ctx context.Context, next beginFunc) (engine.Session, error) {
			begun++
			time.Sleep(time.Second)
			return next(ctx)
		}
		go func() { _, _ = c.Mutex("a").Lock(t.Context()) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := c.Mutex("b").Lock(ctx)
		wantErr(t, err, context.Canceled)
		short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = c.Mutex("b").Lock(short)
		wantErr(t, err, context.DeadlineExceeded)
		lock(t, c.Mutex("c"))
		if begun != 1 {
			t.Errorf("%d sessions were begun", begun)
		}
	})
}

func TestCloseWhileASessionIsBeingBegunLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		r.begin = func(ctx context.Context, next beginFunc) (engine.Session, error) {
			es, err := next(context.Background())
			<-ctx.Done()
			return es, err
		}
		locked := make(chan error, 1)
		go func() { _, err := c.Mutex("n").Lock(t.Context()); locked <- err }()
		synctest.Wait()
		wantNo(t, c.Close())
		wantErr(t, <-locked, lockstep.ErrClosed)
		lock(t, s.client().Mutex("n"))
	})
}

func TestEnginesOwnTimeOutIsNotTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		r.begin = func(context.Context, beginFunc) (engine.Session, error) {
			return nil, context.DeadlineExceeded
		}
		_, err := c.Mutex("n").Lock(t.Context())
		wantErr(t, err, lockstep.ErrUnavailable)
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v looks like the caller's own deadline", err)
		}
	})
}
