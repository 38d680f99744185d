package lockstep_test

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func wantCount(t *testing.T, c *lockstep.Counter, want int64) {
	t.Helper()
	n, err := c.Get(t.Context())
	wantNo(t, err)
	if n != want {
		t.Fatalf("the counter is %d; want %d", n, want)
	}
}

func TestCounterIsTheSumOfItsAdditions(t *testing.T) {
	s := newService(t)
	wantCount(t, s.client().Counter("hits"), 0)
	n, err := s.client().Counter("hits").Add(t.Context(), 5)
	wantNo(t, err)
	if n != 5 {
		t.Errorf("Add says %d; want 5", n)
	}
	n, err = s.client().Counter("hits").Add(t.Context(), -7)
	wantNo(t, err)
	if n != -2 {
		t.Errorf("Add says %d; want -2", n)
	}
	wantCount(t, s.client().Counter("hits"), -2)
	wantCount(t, s.client().Counter("other"), 0)
	wantNo(t, s.client().Counter("hits").Delete(t.Context()))
	wantCount(t, s.client().Counter("hits"), 0)
}

func TestCounterRefusesWhatItCannotHold(t *testing.T) {
	c := newService(t).client().Counter("hits")
	_, err := c.Add(t.Context(), math.MaxInt64)
	wantNo(t, err)
	_, err = c.Add(t.Context(), 1)
	wantErr(t, err, lockstep.ErrInvalid)
	wantCount(t, c, math.MaxInt64)
	_, err = new(lockstep.Counter).Add(t.Context(), 1)
	wantErr(t, err, lockstep.ErrInvalid)
	_, err = newService(t).client().Counter(".hits").Get(t.Context())
	wantErr(t, err, lockstep.ErrInvalid)
}

// S4: an addition whose reply was lost is not made twice, whoever else adds.
func TestAdditionsAreExactWhenRepliesAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const adders, each = 8, 50
		s := newService(t)
		var all sync.WaitGroup
		var lost atomic.Int64
		for range adders {
			c, sh := s.shelved()
			calls := 0
			sh.commit = func(ctx context.Context, tx engine.Tx, next commitFunc) (engine.Revision, error) {
				time.Sleep(time.Millisecond) // others read and commit meanwhile
				r, err := next(ctx, tx)
				sh.mu.Lock()
				defer sh.mu.Unlock()
				if calls++; calls%3 == 0 && err == nil {
					lost.Add(1)
					return 0, errNoReply
				}
				return r, err
			}
			all.Go(func() {
				for range each {
					if _, err := c.Counter("hits").Add(t.Context(), 1); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		wantCount(t, s.client().Counter("hits"), adders*each)
		if lost.Load() < each {
			t.Errorf("only %d replies were lost", lost.Load())
		}
	})
}

// Who does not know whether its addition was made asks again under the same id,
// from another process too.
func TestAdditionsWithOneIDAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, sh := s.shelved()
		sh.commit = func(ctx context.Context, tx engine.Tx, next commitFunc) (engine.Revision, error) {
			next(ctx, tx)
			return 0, errNoReply
		}
		wantErr(t, c.Counter("hits").AddAs(t.Context(), "order 7", 3), lockstep.ErrUnavailable)
		other := s.client().Counter("hits")
		_, err := other.Add(t.Context(), 10)
		wantNo(t, err)
		wantNo(t, other.AddAs(t.Context(), "order 7", 3))
		wantCount(t, other, 13)
		wantNo(t, other.AddAs(t.Context(), "order 8", 3))
		wantCount(t, other, 16)
	})
}
