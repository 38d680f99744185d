package lockstep_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
)

var errWork = errors.New("work failed")

func TestDoReturnsTheFunctionsError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		err := c.Mutex("n").Do(t.Context(), func(context.Context) error { return errWork })
		wantErr(t, err, errWork)
		wantNo(t, c.Mutex("n").Do(t.Context(), func(context.Context) error { return nil }))
	})
}

func TestDoSaysThatTheLockWasLostAlsoIfTheFunctionDidNotNotice(t *testing.T) {
	for _, own := range []error{nil, errWork} {
		synctest.Test(t, func(t *testing.T) {
			c, r := newService(t).rigged()
			r.cut = false
			err := c.Mutex("n").Do(t.Context(), func(ctx context.Context) error {
				r.set(func() { r.cut = true })
				<-ctx.Done()
				wantErr(t, context.Cause(ctx), lockstep.ErrLost)
				return own
			})
			wantErr(t, err, lockstep.ErrLost)
			if own != nil {
				wantErr(t, err, own)
			}
			r.set(func() { r.cut = false })
		})
	}
}

func TestDoSaysLostIfReleaseFindsNoClaim(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		err := s.client().Mutex("n").Do(t.Context(), func(ctx context.Context) error {
			return s.client().Remove(ctx, "n", lockstep.LeaseFrom(ctx).ID())
		})
		wantErr(t, err, lockstep.ErrLost)
	})
}

// TestDoGivesBackAfterAPanic: a panic of the user's function, which is what is tested here,
// goes on to whoever called Do.
func TestDoGivesBackAfterAPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		const why = "in the function"
		func() {
			defer func() {
				if got := recover(); got != why {
					t.Errorf("Do's caller recovers %v, want what the function panicked with", got)
				}
			}()
			_ = c.Mutex("n").Do(t.Context(), func(context.Context) error { panic(why) })
		}()
		lock(t, s.client().Mutex("n"))
	})
}

func TestContextOfDoCarriesTokenValuesAndDeadline(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "v"), time.Second)
		defer cancel()
		err := c.Mutex("n").Do(ctx, func(ctx context.Context) error {
			if lockstep.TokenFrom(ctx) == 0 || lockstep.TokenFrom(ctx) != lockstep.LeaseFrom(ctx).Token() {
				t.Errorf("token %d", lockstep.TokenFrom(ctx))
			}
			if ctx.Value(key{}) != "v" {
				t.Error("the caller's values are gone")
			}
			if d, ok := ctx.Deadline(); !ok || time.Until(d) != time.Second {
				t.Errorf("deadline %v", d)
			}
			<-ctx.Done()
			return ctx.Err()
		})
		wantErr(t, err, context.DeadlineExceeded)
	})
}

func TestLeaseContextDoesNotEndWithLocksContext(t *testing.T) {
	type key struct{}
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
		l, err := c.Mutex("n").Lock(ctx)
		wantNo(t, err)
		cancel()
		synctest.Wait()
		wantNo(t, l.Context().Err())
		if l.Context().Value(key{}) != "v" {
			t.Error("Lock's values are gone")
		}
		wantNo(t, l.Release(t.Context()))
		wantErr(t, context.Cause(l.Context()), lockstep.ErrReleased)
	})
}

func TestLossReachesDerivedContextsBeforeItsCauseReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		l := lock(t, c.Mutex("n"))
		attached, free := l.Attach(t.Context())
		defer free()
		child, cancel := context.WithCancel(context.WithValue(attached, t, 1))
		defer cancel()
		wantNo(t, c.Close())
		wantErr(t, child.Err(), context.Canceled) // no goroutine had to run for it
	})
}

func TestLockOnANameThatTheContextHoldsIsAnError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		wantNo(t, c.Mutex("outer").Do(t.Context(), func(ctx context.Context) error {
			return c.Multi("a", "b").Do(ctx, func(ctx context.Context) error {
				for _, name := range []string{"outer", "a", "b"} {
					_, err := c.Mutex(name).Lock(ctx)
					wantErr(t, err, lockstep.ErrInvalid)
					wantErr(t, c.RWMutex(name).RDo(ctx, func(context.Context) error { return nil }), lockstep.ErrInvalid)
				}
				_, err := c.Multi("z", "a").Lock(ctx)
				wantErr(t, err, lockstep.ErrInvalid)
				if _, err := s.client().Mutex("outer").TryLock(ctx); !errors.Is(err, lockstep.ErrHeld) {
					t.Errorf("another client's: %v", err)
				}
				return c.Mutex("other").Do(ctx, func(context.Context) error { return nil })
			})
		}))
	})
}

func TestCloseGivesTheFunctionTheMarginBeforeTheNextIsGranted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		running, ended := make(chan struct{}), time.Time{}
		done := make(chan error, 1)
		go func() {
			done <- c.Mutex("n").Do(t.Context(), func(ctx context.Context) error {
				close(running)
				<-ctx.Done()
				time.Sleep(lockstep.Margin(ttl) / 2) // clearing up
				ended = time.Now()
				return nil
			})
		}()
		<-running
		next := make(chan time.Time, 1)
		go func() { lock(t, s.client().Mutex("n")); next <- time.Now() }()
		synctest.Wait()
		wantNo(t, c.Close())
		wantErr(t, <-done, lockstep.ErrClosed)
		if granted := <-next; granted.Before(ended) {
			t.Errorf("the next was granted %v before the function returned", ended.Sub(granted))
		}
	})
}

func TestMaxHoldEndsAStuckHolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		stuck := lock(t, s.client().Mutex("n", lockstep.WithMaxHold(time.Minute)))
		start := time.Now()
		next := lock(t, s.client().Mutex("n"))
		if took := time.Since(start); took != time.Minute {
			t.Errorf("the next was granted after %v", took)
		}
		wantErr(t, stuck.Err(), lockstep.ErrLost)
		wantNo(t, next.Err())
	})
}
