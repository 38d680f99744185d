package schedule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// fleet is programs that share a service, and what ran where.
type fleet struct {
	*testing.T
	service *memengine.Service
	mu      sync.Mutex
	runs    map[time.Time]int
	all     sync.WaitGroup
	cancel  []context.CancelFunc
}

func newFleet(t *testing.T) *fleet {
	return &fleet{T: t, service: memengine.NewService(), runs: map[time.Time]int{}}
}

func (f *fleet) client() *lockstep.Client {
	f.Helper()
	c, err := lockstep.New(f.service.Engine(), lockstep.WithLogger(nil))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		if err := c.Close(); err != nil {
			f.Error(err)
		}
	})
	return c
}

// start runs a job as another program does.
func (f *fleet) start(j *Job, run func(ctx context.Context, tick time.Time) error) (stop func()) {
	ctx, cancel := context.WithCancel(f.Context())
	f.cancel = append(f.cancel, cancel)
	f.all.Go(func() {
		err := j.Run(ctx, func(ctx context.Context, tick time.Time) error {
			f.mu.Lock()
			f.runs[tick]++
			f.mu.Unlock()
			return run(ctx, tick)
		})
		if !errors.Is(err, context.Canceled) {
			f.Errorf("Run: %v", err)
		}
	})
	return cancel
}

func (f *fleet) stop() {
	for _, cancel := range f.cancel {
		cancel()
	}
	f.all.Wait()
}

// once fails unless so many ticks ran, each once.
func (f *fleet) once(ticks int) {
	f.Helper()
	f.stop()
	if len(f.runs) != ticks {
		f.Errorf("%d ticks ran; want %d", len(f.runs), ticks)
	}
	for tick, n := range f.runs {
		if n != 1 {
			f.Errorf("the tick of %v ran %d times", tick, n)
		}
	}
}

func short(context.Context, time.Time) error { return nil }

func takes(d time.Duration) func(context.Context, time.Time) error {
	return func(ctx context.Context, _ time.Time) error {
		select {
		case <-time.After(d):
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func TestEachTickRunsOnceInAFleet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		for range 10 {
			f.start(New(f.client(), "report", mustCron(t, "*/5 * * * *")), short)
		}
		time.Sleep(time.Hour + time.Minute)
		f.once(13) // the bubble begins at midnight, on a tick
	})
}

// A lock that is held while the function runs would be free again for a program
// whose clock is slow: its ticks come when all is over. Take is what it asks.
func TestAProgramThatComesLateDoesNotRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		var reports []Report
		times := mustCron(t, "@hourly")
		f.start(New(f.client(), "report", times), short)
		time.Sleep(30 * time.Second)
		f.start(New(f.client(), "report", times).Report(func(r Report) { reports = append(reports, r) }), short)
		synctest.Wait()
		f.once(1)
		if len(reports) != 1 || reports[0].Outcome != Elsewhere {
			t.Errorf("reports %+v", reports)
		}
	})
}

func TestATickIsMissedWhenNobodyIsThereInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		time.Sleep(10 * time.Minute)
		f.start(New(f.client(), "nightly", mustCron(t, "@daily")), short)
		synctest.Wait()
		f.once(0)
		f.start(New(f.client(), "nightly", mustCron(t, "@daily")).Late(time.Hour), short)
		synctest.Wait()
		f.once(1)
	})
}

// The one program there is runs from midnight to 2:50, and then not for 2:00.
func TestWhatPassesDuringARunIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		start := time.Now()
		f.start(New(f.client(), "hourly", mustCron(t, "@hourly")), takes(2*time.Hour+50*time.Minute))
		time.Sleep(3*time.Hour + time.Minute)
		f.once(2)
		if f.runs[start.UTC()] != 1 || f.runs[start.Add(3*time.Hour).UTC()] != 1 {
			t.Errorf("ran %v", f.runs)
		}
	})
}

func TestATickIsSkippedWhileAnEarlierOneRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		outcomes := map[Outcome]int{}
		var mu sync.Mutex
		for range 3 {
			f.start(New(f.client(), "slow", mustCron(t, "* * * * *")).Report(func(r Report) {
				mu.Lock()
				defer mu.Unlock()
				outcomes[r.Outcome]++
			}), takes(90*time.Second))
		}
		time.Sleep(10*time.Minute - time.Second)
		f.stop()
		if len(f.runs) != 5 || outcomes[Skipped] != 5 {
			t.Errorf("%d ran, %v; want every other minute", len(f.runs), outcomes)
		}
		f.once(5)
	})
}

func TestOverlappingTicksRunWhereTheyMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		for range 3 {
			f.start(New(f.client(), "slow", mustCron(t, "* * * * *")).Overlap(), takes(90*time.Second))
		}
		time.Sleep(10*time.Minute - time.Second)
		f.once(10)
	})
}

// Whoever runs is killed in its run: the tick is not run again, the next one is.
func TestARunThatDiesIsNotRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		stop := f.start(New(f.client(), "report", mustCron(t, "*/5 * * * *")), takes(time.Hour))
		synctest.Wait()
		stop()
		synctest.Wait()
		f.start(New(f.client(), "report", mustCron(t, "*/5 * * * *")), short)
		time.Sleep(6 * time.Minute)
		f.once(2)
	})
}

func TestARunHasATokenAndEndsWithItsLock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFleet(t)
		reported := make(chan Report, 1)
		job := New(f.client(), "report", mustCron(t, "@daily")).Report(func(r Report) { reported <- r })
		f.start(job, func(ctx context.Context, _ time.Time) error {
			if lockstep.TokenFrom(ctx) == 0 {
				t.Error("no token")
			}
			if err := f.client().Remove(ctx, "report", lockstep.LeaseFrom(ctx).ID()); err != nil { // release --force
				t.Error(err)
			}
			<-ctx.Done()
			return nil
		})
		if r := <-reported; r.Outcome != Ran || !errors.Is(r.Err, lockstep.ErrLost) {
			t.Errorf("%+v", r)
		}
		f.once(1)
	})
}

func TestWhatWillNeverRunIsAnError(t *testing.T) {
	c := newFleet(t).client()
	for what, j := range map[string]*Job{
		"no client": New(nil, "x", mustCron(t, "@daily")),
		"no times":  New(c, "x", Times{}),
		"late":      New(c, "x", mustCron(t, "@daily")).Late(0),
	} {
		if err := j.Run(t.Context(), short); !errors.Is(err, lockstep.ErrInvalid) {
			t.Errorf("%s: %v", what, err)
		}
	}
	every, err := Every(time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if err := New(c, ".name", every).Run(t.Context(), short); !errors.Is(err, lockstep.ErrInvalid) {
		t.Errorf("a bad name: %v", err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := New(c, "x", every).Run(t.Context(), short); !errors.Is(err, lockstep.ErrClosed) {
		t.Errorf("a closed client: %v", err)
	}
}

func ExampleJob_Run() {
	c, err := lockstep.New(memengine.New())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	times, err := Every(time.Second)
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	err = New(c, "clean up", times).Run(ctx, func(ctx context.Context, tick time.Time) error {
		fmt.Println("a tick of a full second:", tick.Nanosecond() == 0, "with a token:", lockstep.TokenFrom(ctx) > 0)
		stop()
		return nil
	})
	fmt.Println(err)
	// Output:
	// a tick of a full second: true with a token: true
	// context canceled
}
