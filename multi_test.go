package lockstep_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
)

func TestMultiTakesAllOrNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		holder := lock(t, s.client().Mutex("b"))
		_, err := c.Multi("a", "b", "c").TryLock(t.Context())
		wantErr(t, err, lockstep.ErrHeld)
		if name := heldBy(t, err).Line.Name; name != "b" {
			t.Errorf("held is %q", name)
		}
		for _, free := range []string{"a", "c"} {
			l, err := s.client().Mutex(free).TryLock(t.Context())
			wantNo(t, err)
			wantNo(t, l.Release(t.Context()))
		}
		wantNo(t, holder.Release(t.Context()))
		ml, err := c.Multi("c", "a", "b").Lock(t.Context())
		wantNo(t, err)
		var got []string
		for _, l := range ml.Leases() {
			got = append(got, l.Name())
		}
		if !slices.Equal(got, []string{"c", "a", "b"}) || ml.Lease("b").Token() == 0 || ml.Lease("x") != nil {
			t.Errorf("leases are %q", got)
		}
		wantNo(t, ml.Release(t.Context()))
		wantErr(t, ml.Err(), lockstep.ErrReleased)
	})
}

func TestMultiWaitsHoldingOnlyWhatComesBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		holder := lock(t, s.client().Mutex("b"))
		all := make(chan *lockstep.MultiLease, 1)
		go func() {
			ml, err := s.client().Multi("c", "b", "a").Lock(t.Context())
			wantNo(t, err)
			all <- ml
		}()
		synctest.Wait()
		_, err := s.client().Mutex("a").TryLock(t.Context())
		wantErr(t, err, lockstep.ErrHeld)
		c, err := s.client().Mutex("c").TryLock(t.Context())
		wantNo(t, err)
		wantNo(t, holder.Release(t.Context()))
		wantNo(t, c.Release(t.Context()))
		<-all
	})
}

func TestMultiOfSeveralKinds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		take := func(c *lockstep.Client) *lockstep.Multi {
			return c.MultiOf(c.RWMutex("r").Reader(), c.Semaphore("s", 2).Shares(1), c.Mutex("m"))
		}
		c := s.client()
		ml, err := take(c).Lock(t.Context())
		wantNo(t, err)
		_, err = take(s.client()).TryLock(t.Context())
		wantErr(t, err, lockstep.ErrHeld)
		_, err = c.MultiOf(c.RWMutex("r").Reader(), c.Semaphore("s", 2).Shares(1)).TryLock(t.Context())
		wantNo(t, err)
		_, err = c.MultiOf(c.RWMutex("r").Writer()).TryLock(t.Context())
		wantErr(t, err, lockstep.ErrHeld)
		wantNo(t, ml.Release(t.Context()))
	})
}

func TestOneOfSeveralLostIsAllLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		err := s.client().Multi("a", "b").Do(t.Context(), func(ctx context.Context) error {
			ml := lockstep.MultiLeaseFrom(ctx)
			wantNo(t, s.client().Remove(ctx, "b", ml.Lease("b").ID()))
			<-ctx.Done()
			wantErr(t, context.Cause(ctx), lockstep.ErrLost)
			wantErr(t, ml.Err(), lockstep.ErrLost)
			wantNo(t, ml.Lease("a").Err())
			return nil
		})
		wantErr(t, err, lockstep.ErrLost)
		_, err = s.client().Multi("a", "b").TryLock(t.Context())
		wantNo(t, err)
	})
}

func TestMultiWithAWaitSaysWhichNameIsHeld(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		lock(t, s.client().Mutex("b"))
		start := time.Now()
		_, err := s.client().Multi("a", "b").With(lockstep.WithWait(time.Second)).Lock(t.Context())
		wantErr(t, err, lockstep.ErrHeld)
		if name := heldBy(t, err).Line.Name; name != "b" {
			t.Errorf("held is %q", name)
		}
		if took := time.Since(start); took != time.Second {
			t.Errorf("it took %v", took)
		}
		lock(t, s.client().Mutex("a"))
	})
}

// Whatever order callers give the names in, and also where single locks are
// nested in byte order, everybody comes to an end.
func TestMultiNeverDeadlocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		names := []string{"a", "b", "c", "d", "e"}
		var held [5]atomic.Int32
		var workers sync.WaitGroup
		for seed := range uint64(6) {
			c := s.client()
			random := rand.New(rand.NewPCG(seed, 1))
			workers.Go(func() {
				for range 30 {
					mine := slices.Clone(names)
					random.Shuffle(len(mine), func(i, j int) { mine[i], mine[j] = mine[j], mine[i] })
					mine = mine[:1+random.IntN(4)]
					work := func(context.Context) error {
						for _, n := range mine {
							if held[n[0]-'a'].Add(1) != 1 {
								t.Errorf("two hold %q", n)
							}
						}
						time.Sleep(time.Duration(random.IntN(50)) * time.Millisecond)
						for _, n := range mine {
							held[n[0]-'a'].Add(-1)
						}
						return nil
					}
					if seed%2 == 0 {
						wantNo(t, c.Multi(mine...).Do(t.Context(), work))
						continue
					}
					slices.Sort(mine)
					wantNo(t, nested(t.Context(), c, mine, work))
				}
			})
		}
		workers.Wait()
	})
}

func nested(ctx context.Context, c *lockstep.Client, names []string, f func(context.Context) error) error {
	if len(names) == 0 {
		return f(ctx)
	}
	return c.Mutex(names[0]).Do(ctx, func(ctx context.Context) error { return nested(ctx, c, names[1:], f) })
}
