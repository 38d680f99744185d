package lockstep_test

import (
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
)

func take(t *testing.T, ticks *lockstep.Ticks, tick time.Time, want bool) {
	t.Helper()
	mine, err := ticks.Take(t.Context(), tick)
	wantNo(t, err)
	if mine != want {
		t.Errorf("%v: taken %v; want %v", tick, mine, want)
	}
}

func TestATickHasOneTaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		tick := time.Now()
		var takers atomic.Int64
		var all sync.WaitGroup
		for range 20 {
			ticks := s.client().Ticks("nightly")
			all.Go(func() {
				mine, err := ticks.Take(t.Context(), tick)
				if err != nil {
					t.Error(err)
				}
				if mine {
					takers.Add(1)
				}
			})
		}
		all.Wait()
		if takers.Load() != 1 {
			t.Errorf("%d takers", takers.Load())
		}
		time.Sleep(time.Hour)
		take(t, s.client().Ticks("nightly"), tick.In(time.FixedZone("east", 3600)), false)
		take(t, s.client().Ticks("other"), tick, true)
		take(t, s.client().Ticks("nightly"), tick.Add(-time.Second), true) // late, and nobody's
	})
}

// However many ticks follow, one that was taken stays taken, for a clock that is
// slow too. A clock that is far ahead takes ticks of its own and stops nobody.
func TestATickStaysTakenWhateverFollows(t *testing.T) {
	for name, ahead := range map[string]bool{"clocks agree": false, "one clock is ahead": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ticks := newService(t).client().Ticks("often")
				start := time.Now()
				for i := range 150 {
					if ahead {
						take(t, ticks, start.AddDate(1, 0, 0).Add(time.Duration(i)*time.Second), true)
					}
					take(t, ticks, start.Add(time.Duration(i)*time.Second), true)
					for _, before := range []int{0, i / 2, i} {
						take(t, ticks, start.Add(time.Duration(before)*time.Second), false)
					}
				}
			})
		})
	}
}

// S11: where only a clock that is ahead has taken ticks for long, whose clock is
// wrong cannot be known; nobody is stopped without a word.
func TestTicksOfAClockThatIsAheadAloneAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ticks := newService(t).client().Ticks("often")
		for i := range 102 {
			take(t, ticks, time.Now().AddDate(1, 0, i), true)
		}
		_, err := ticks.Take(t.Context(), time.Now())
		wantErr(t, err, lockstep.ErrMismatch)
		wantNo(t, ticks.Delete(t.Context()))
		take(t, ticks, time.Now(), true)
	})
}

func TestATickThatMayBeForgottenIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ticks := newService(t).client().Ticks("nightly").Keep(time.Hour)
		tick := time.Now()
		time.Sleep(time.Hour/2 + 1)
		_, err := ticks.Take(t.Context(), tick)
		wantErr(t, err, lockstep.ErrInvalid)
		_, err = ticks.Keep(0).Take(t.Context(), time.Now())
		wantErr(t, err, lockstep.ErrInvalid)
		_, err = new(lockstep.Ticks).Keep(time.Hour).Take(t.Context(), time.Now())
		wantErr(t, err, lockstep.ErrInvalid)
	})
}
