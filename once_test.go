package lockstep_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

type runner = func(context.Context) ([]byte, error)

// says is a function that takes a minute and whose result is its token.
func says(runs *atomic.Int64) runner {
	return func(ctx context.Context) ([]byte, error) {
		runs.Add(1)
		select {
		case <-time.After(time.Minute):
			return fmt.Append(nil, lockstep.TokenFrom(ctx)), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func TestOneRunsAndAllGetItsResultAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var runs atomic.Int64
		start := time.Now()
		results := make(chan string, 20)
		for range cap(results) {
			c := s.client()
			go func() {
				r, err := c.Once("migrate").Do(t.Context(), says(&runs))
				if err != nil {
					t.Error(err)
				}
				results <- string(r)
			}()
		}
		var all []string
		for range cap(results) {
			all = append(all, <-results)
		}
		same(t, "results", all)
		if took := time.Since(start); runs.Load() != 1 || took != time.Minute {
			t.Errorf("%d runs, and %v; want one that takes a minute", runs.Load(), took)
		}
		r, err := s.client().Once("migrate").Do(t.Context(), says(&runs))
		wantNo(t, err)
		if string(r) != all[0] || runs.Load() != 1 {
			t.Errorf("later: %q after %d runs", r, runs.Load())
		}
		synctest.Wait()
		if line, err := s.s.Engine().Line(t.Context(), ".once.migrate"); err != nil || len(line.Holders)+len(line.Waiters) > 0 {
			t.Errorf("in line: %+v, %v", line, err)
		}
	})
}

// The runner's release does not arrive: nobody is granted the lease, and all who
// wait have the result all the same.
func TestTheResultWakesAllWhoWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		r.release = func(ctx context.Context, _ *engine.Claim, _ releaseFunc) (bool, error) {
			<-ctx.Done()
			return false, ctx.Err()
		}
		var runs atomic.Int64
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		done := make(chan struct{})
		go func() { defer close(done); c.Once("migrate").Do(ctx, says(&runs)) }()
		synctest.Wait()
		var all sync.WaitGroup
		for range 3 {
			c := s.client()
			all.Go(func() {
				if _, err := c.Once("migrate").Do(t.Context(), says(&runs)); err != nil || time.Since(start) != time.Minute {
					t.Errorf("after %v: %v", time.Since(start), err)
				}
			})
		}
		all.Wait()
		<-done
		if runs.Load() != 1 {
			t.Errorf("%d runs", runs.Load())
		}
	})
}

func TestAnErrorIsNoResult(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		wrong := errors.New("wrong")
		_, err := s.client().Once("migrate").Do(t.Context(), func(context.Context) ([]byte, error) { return []byte("x"), wrong })
		wantErr(t, err, wrong)
		_, err = s.client().Once("migrate").Get(t.Context())
		wantErr(t, err, lockstep.ErrNotFound)
		r, err := s.client().Once("migrate").Do(t.Context(), func(context.Context) ([]byte, error) { return []byte("right"), nil })
		wantNo(t, err)
		if string(r) != "right" {
			t.Errorf("result %q", r)
		}
	})
}

func TestAResultIsKeptForItsTimeAndThenRunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var runs atomic.Int64
		once := func() string {
			t.Helper()
			r, err := s.client().Once("report").Keep(time.Hour).Do(t.Context(), says(&runs))
			wantNo(t, err)
			return string(r)
		}
		first := once()
		time.Sleep(time.Hour)
		if again := once(); again != first || runs.Load() != 1 {
			t.Errorf("%q within the hour, after %q", again, first)
		}
		time.Sleep(time.Hour / 8)
		if again := once(); again == first || runs.Load() != 2 {
			t.Errorf("%q after the hour: not run again", again)
		}
		_, err := s.client().Once("report").Keep(0).Do(t.Context(), says(&runs))
		wantErr(t, err, lockstep.ErrInvalid)
	})
}

func TestADeletedResultIsRunAgain(t *testing.T) {
	s := newService(t)
	n := 0
	count := func(context.Context) ([]byte, error) { n++; return fmt.Append(nil, n), nil }
	for want := 1; want < 3; want++ {
		r, err := s.client().Once("migrate").Do(t.Context(), count)
		wantNo(t, err)
		if string(r) != fmt.Sprint(want) {
			t.Errorf("result %s; want %d", r, want)
		}
		wantNo(t, s.client().Once("migrate").Delete(t.Context()))
	}
}

func TestAResultThatIsTooLongIsRefused(t *testing.T) {
	s := newService(t)
	longest := lockstep.MaxValue/4*3 - 1024
	_, err := s.client().Once("long").Do(t.Context(), func(context.Context) ([]byte, error) { return make([]byte, longest+1), nil })
	wantErr(t, err, lockstep.ErrInvalid)
	r, err := s.client().Once("long").Do(t.Context(), func(context.Context) ([]byte, error) { return make([]byte, longest), nil })
	wantNo(t, err)
	if len(r) != longest {
		t.Errorf("%d bytes", len(r))
	}
}

// A runner is killed at every step in turn, in its function too; another takes over.
func TestWhereverARunnerDiesOneResultIsRecorded(t *testing.T) {
	everyDeath(t, func(t *testing.T, d death) int {
		s := newService(t)
		doomed, m := s.mortal(d)
		finished := map[string]lockstep.Token{} // results of functions that came to their end, before they were recorded
		run := func(name string, step func(context.Context) error) runner {
			return func(ctx context.Context) ([]byte, error) {
				if err := step(ctx); err != nil {
					return nil, err
				}
				finished[name] = lockstep.TokenFrom(ctx)
				return []byte(name), nil
			}
		}
		victim, kill := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, err := doomed.Once("migrate").Do(victim, run("victim", m.step))
			done <- err
		}()
		synctest.Wait()
		var results []string
		for range 3 {
			r, err := s.client().Once("migrate").Do(t.Context(), run("heir", func(context.Context) error { return nil }))
			if err != nil {
				t.Errorf("%+v: %v", d, err)
			}
			results = append(results, string(r))
		}
		kill()
		<-done
		same(t, fmt.Sprintf("%+v: results", d), results)
		r, err := s.client().Once("migrate").Get(t.Context())
		wantNo(t, err)
		if string(r) != results[0] {
			t.Errorf("%+v: %q is recorded, others got %q", d, r, results[0])
		}
		for name, token := range finished {
			if token > finished[string(r)] {
				t.Errorf("%+v: %q is recorded, and %q finished later", d, r, name)
			}
		}
		return m.made()
	})
}

// A runner that was stopped past its window finishes after a later one began, and
// before that one finishes: its result is not recorded.
func TestALateResultOfAnEarlierRunnerIsNotRecorded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		resume := make(chan struct{})
		early := make(chan error, 1)
		go func() {
			_, err := c.Once("migrate").Do(t.Context(), func(context.Context) ([]byte, error) {
				<-resume // it does not look at its context
				return []byte("early"), nil
			})
			early <- err
		}()
		synctest.Wait()
		r.set(func() { r.cut = true })
		time.Sleep(2 * ttl)
		var result []byte
		result, err := s.client().Once("migrate").Do(t.Context(), func(context.Context) ([]byte, error) {
			r.set(func() { r.cut = false })
			close(resume)
			err := <-early
			wantErr(t, err, lockstep.ErrLost)
			if errors.Is(err, context.Canceled) {
				t.Errorf("it looks like its caller's own end: %v", err)
			}
			return []byte("later"), nil
		})
		wantNo(t, err)
		if string(result) != "later" {
			t.Errorf("recorded %q", result)
		}
	})
}

// What the token in the record is for: the engine has let go of the claim, and its
// holder does not know it yet.
func TestAnOvertakenRunIsKeptOutByItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		early := s.over(&rig{Engine: untold{s.s.Engine()}})
		begun, finish, later := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		_, err := early.Once("migrate").Do(t.Context(), func(ctx context.Context) ([]byte, error) {
			wantNo(t, s.s.Engine().Remove(ctx, ".once.migrate", lockstep.LeaseFrom(ctx).ID())) // release --force
			c := s.client()
			go func() {
				_, err := c.Once("migrate").Do(t.Context(), func(context.Context) ([]byte, error) {
					close(begun)
					<-finish
					return []byte("later"), nil
				})
				later <- err
			}()
			<-begun
			return []byte("early"), ctx.Err()
		})
		close(finish)
		wantNo(t, <-later)
		if wantErr(t, err, lockstep.ErrLost); !strings.Contains(err.Error(), "a later run has begun") {
			t.Error(err)
		}
		r, err := s.client().Once("migrate").Get(t.Context())
		if wantNo(t, err); string(r) != "later" {
			t.Errorf("recorded %q", r)
		}
	})
}

// untold is an engine whose sessions are not told what they lose.
type untold struct{ engine.Engine }

func (u untold) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	o.Lost = nil
	return u.Engine.Begin(ctx, o)
}

func TestOnceInsideItselfIsRefused(t *testing.T) {
	c := newService(t).client()
	_, err := c.Once("migrate").Do(t.Context(), func(ctx context.Context) ([]byte, error) {
		return c.Once("migrate").Do(ctx, func(context.Context) ([]byte, error) { return nil, nil })
	})
	wantErr(t, err, lockstep.ErrInvalid)
	if n := strings.Count(err.Error(), "lockstep:"); n > 2 {
		t.Errorf("wrapped %d times: %v", n, err)
	}
}
