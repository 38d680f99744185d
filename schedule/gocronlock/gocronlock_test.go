package gocronlock_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-co-op/gocron/v2"
	"github.com/jonboulle/clockwork"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/memengine"
	"github.com/lockstep-go/lockstep/schedule"
	"github.com/lockstep-go/lockstep/schedule/gocronlock"
)

func client(t *testing.T, s *memengine.Service) *lockstep.Client {
	t.Helper()
	c, err := lockstep.New(s.Engine(), lockstep.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func scheduler(t *testing.T, opts ...gocron.SchedulerOption) gocron.Scheduler {
	t.Helper()
	s, err := gocron.NewScheduler(append(opts, gocron.WithLocation(time.UTC))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shutdown(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// runs counts what ran by the minute.
type runs struct {
	mu sync.Mutex
	n  map[string]int
}

func (r *runs) run() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.n[time.Now().UTC().Format("15:04")]++
}

// behind is a clock that is slow.
type behind struct {
	clockwork.Clock

	by time.Duration
}

func (c behind) Now() time.Time                     { return c.Clock.Now().Add(-c.by) }
func (c behind) Since(when time.Time) time.Duration { return c.Now().Sub(when) }
func (c behind) Until(when time.Time) time.Duration { return when.Sub(c.Now()) }

// Three schedulers, each some seconds later than the one before, as if their clocks
// differed; the job takes no time.
func TestAShortJobRunsOncePerTick(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crontab = "*/5 * * * *"
		service := memengine.NewService()
		times, err := schedule.Cron(crontab)
		if err != nil {
			t.Fatal(err)
		}
		ran := runs{n: map[string]int{}}
		for i := range 3 {
			s := scheduler(t, gocron.WithClock(behind{clockwork.NewRealClock(), time.Duration(i) * 7 * time.Second}))
			_, err := s.NewJob(gocron.CronJob(crontab, false), gocron.NewTask(ran.run),
				gocron.WithName("report"), gocron.WithDistributedJobLocker(gocronlock.NewLocker(client(t, service), times)))
			if err != nil {
				t.Fatal(err)
			}
			s.Start()
		}
		time.Sleep(time.Hour + time.Minute)
		ran.mu.Lock()
		defer ran.mu.Unlock()
		if len(ran.n) != 13 { // it is midnight still for those whose clocks are behind
			t.Errorf("%d ticks ran; want 13", len(ran.n))
		}
		for tick, n := range ran.n {
			if n != 1 {
				t.Errorf("%s ran %d times", tick, n)
			}
		}
	})
}

func TestATickIsTakenOnceHoweverLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := memengine.NewService()
		times, err := schedule.Every(time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		a, b := gocronlock.NewLocker(client(t, service), times), gocronlock.NewLocker(client(t, service), times)
		l, err := a.Lock(t.Context(), "job")
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		time.Sleep(59 * time.Second)
		if _, err := b.Lock(t.Context(), "job"); !errors.Is(err, gocronlock.ErrTaken) {
			t.Errorf("59 s later: %v", err)
		}
		time.Sleep(time.Second - 100*time.Millisecond) // its timer fires too early
		l, err = b.Lock(t.Context(), "job")
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if _, err := a.Lock(t.Context(), "job"); !errors.Is(err, lockstep.ErrHeld) {
			t.Errorf("while the last one runs: %v", err)
		}
		if err := l.Unlock(t.Context()); err != nil {
			t.Error(err)
		}
		if _, err := gocronlock.NewLocker(nil, times).Lock(t.Context(), "job"); !errors.Is(err, lockstep.ErrInvalid) {
			t.Errorf("without a client: %v", err)
		}
	})
}

func TestOnlyTheLeaderRunsJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		service := memengine.NewService()
		ran := runs{n: map[string]int{}}
		var electors []*gocronlock.Elector
		for i := range 3 {
			e := gocronlock.NewElector(client(t, service), "scheduler", fmt.Sprint("host ", i))
			t.Cleanup(func() { e.Close() })
			electors = append(electors, e)
			s := scheduler(t, gocron.WithDistributedElector(e))
			if _, err := s.NewJob(gocron.CronJob("* * * * *", false), gocron.NewTask(ran.run)); err != nil {
				t.Fatal(err)
			}
			s.Start()
		}
		synctest.Wait()
		for range electors {
			time.Sleep(5*time.Minute + time.Second)
			for i, e := range electors {
				if e.IsLeader(t.Context()) == nil {
					e.Close()
					electors[i] = e
					break
				}
			}
			synctest.Wait()
		}
		ran.mu.Lock()
		defer ran.mu.Unlock()
		if len(ran.n) != 15 {
			t.Errorf("%d ticks ran; want 15", len(ran.n))
		}
		for tick, n := range ran.n {
			if n != 1 {
				t.Errorf("%s ran %d times", tick, n)
			}
		}
		for _, e := range electors {
			if err := e.IsLeader(t.Context()); !errors.Is(err, gocronlock.ErrNotLeader) {
				t.Errorf("a closed elector: %v", err)
			}
		}
	})
}

func TestAnElectorSaysWhyItWillNeverLead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := gocronlock.NewElector(client(t, memengine.NewService()), ".name", "")
		synctest.Wait()
		err := e.IsLeader(t.Context())
		if !errors.Is(err, gocronlock.ErrNotLeader) || !errors.Is(err, lockstep.ErrInvalid) {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
}

func ExampleNewLocker() {
	c, err := lockstep.New(memengine.New())
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	times, err := schedule.Cron("*/5 * * * *")
	if err != nil {
		fmt.Println(err)
		return
	}
	locker := gocronlock.NewLocker(c, times)
	s, err := gocron.NewScheduler(gocron.WithLocation(time.UTC))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Shutdown()
	_, err = s.NewJob(gocron.CronJob("*/5 * * * *", false), gocron.NewTask(func() {}),
		gocron.WithName("report"), gocron.WithDistributedJobLocker(locker))
	fmt.Println(err)

	_, first := locker.Lock(context.Background(), "report") // as gocron does
	_, second := locker.Lock(context.Background(), "report")
	fmt.Println(first, errors.Is(second, gocronlock.ErrTaken))
	// Output:
	// <nil>
	// <nil> true
}
