package lockstep_test

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

func heldBy(t *testing.T, err error) *lockstep.HeldError {
	t.Helper()
	held, ok := errors.AsType[*lockstep.HeldError](err)
	if !ok {
		t.Fatalf("error %v does not say who holds it", err)
	}
	return held
}

func TestMutexHandleIsStateless(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newService(t).client().Mutex("n")
		first := lock(t, m)
		_, err := m.TryLock(t.Context())
		wantErr(t, err, lockstep.ErrHeld)
		if got := heldBy(t, err).Line.Holders[0].Token; got != first.Token() {
			t.Errorf("held with token %d; want %d", got, first.Token())
		}
		wantNo(t, first.Release(t.Context()))
		if second := lock(t, m); second.Token() <= first.Token() {
			t.Errorf("token %d after %d", second.Token(), first.Token())
		}
	})
}

func TestReadersShareAndAWriterIsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		m := s.client().RWMutex("n")
		a, err := m.RLock(t.Context())
		wantNo(t, err)
		b, err := s.client().RWMutex("n").TryRLock(t.Context())
		wantNo(t, err)
		_, err = m.TryLock(t.Context())
		wantErr(t, err, lockstep.ErrHeld)
		writer := make(chan *lockstep.Lease, 1)
		go func() { writer <- lock(t, m) }()
		synctest.Wait()
		_, err = m.TryRLock(t.Context())
		wantErr(t, err, lockstep.ErrHeld) // a waiting writer is not overtaken
		wantNo(t, a.Release(t.Context()))
		wantNo(t, b.Release(t.Context()))
		<-writer
	})
}

func TestSemaphoreSharesItsSlotsByWeight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		sem := c.Semaphore("n", 3)
		two, err := sem.Acquire(t.Context(), 2)
		wantNo(t, err)
		_, err = sem.TryAcquire(t.Context(), 2)
		wantErr(t, err, lockstep.ErrHeld)
		_, err = sem.TryAcquire(t.Context(), 1)
		wantNo(t, err)
		wantNo(t, two.Release(t.Context()))
		wantNo(t, sem.Do(t.Context(), 2, func(context.Context) error { return nil }))
	})
}

func TestSemaphoreOfTwoLimitsIsAMismatchThatNamesBoth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		_, err := s.client().Semaphore("n", 3).Acquire(t.Context(), 1)
		wantNo(t, err)
		_, err = s.client().Semaphore("n", 5).Acquire(t.Context(), 1)
		wantErr(t, err, lockstep.ErrMismatch)
		if !strings.Contains(err.Error(), "3") || !strings.Contains(err.Error(), "5") {
			t.Errorf("error %q does not name both limits", err)
		}
		_, err = s.client().Mutex("n").TryLock(t.Context())
		wantErr(t, err, lockstep.ErrMismatch)
	})
}

func TestBadArgumentsAreRefusedWithAReason(t *testing.T) {
	c := newService(t).client()
	ctx := t.Context()
	long := strings.Repeat("x", lockstep.MaxName+1)
	acquire := func(n, weight int) error { _, err := c.Semaphore("s", n).Acquire(ctx, weight); return err }
	try := func(m *lockstep.Mutex) error { _, err := m.TryLock(ctx); return err }
	multi := func(m *lockstep.Multi) error { _, err := m.TryLock(ctx); return err }
	for _, test := range []struct {
		what, says string
		err        error
	}{
		{"no slots", "limit of 0", acquire(0, 1)},
		{"negative slots", "limit of -1", acquire(-1, 1)},
		{"too many slots", "at most", acquire(1<<40, 1)},
		{"no weight", "weight of 0", acquire(3, 0)},
		{"negative weight", "weight of -2", acquire(3, -2)},
		{"too heavy", "weight of 4 is over the limit of 3", acquire(3, 4)},
		{"no name", "empty name", try(c.Mutex(""))},
		{"reserved name", "begins with a dot", try(c.Mutex(".x"))},
		{"long name", "513 bytes", try(c.Mutex(long))},
		{"control character", "control character at byte 1", try(c.Mutex("a\nb"))},
		{"no UTF-8", "not UTF-8", try(c.Mutex("a\xff"))},
		{"long note", "4097 bytes", try(c.Mutex("n", lockstep.WithNote(make([]byte, lockstep.MaxNote+1))))},
		{"negative wait", "wait of -1s", try(c.Mutex("n", lockstep.WithWait(-time.Second)))},
		{"negative hold", "hold of -1s", try(c.Mutex("n", lockstep.WithMaxHold(-time.Second)))},
		{"zero Mutex", "Client's method", try(&lockstep.Mutex{})},
		{"zero Multi", "Client's method", multi(&lockstep.Multi{})},
		{"no names", "no names", multi(c.Multi())},
		{"a name twice", "twice", multi(c.Multi("a", "b", "a"))},
		{"another client's", "another client", multi(c.MultiOf(newService(t).client().Mutex("n")))},
	} {
		if !errors.Is(test.err, lockstep.ErrInvalid) || !strings.Contains(test.err.Error(), test.says) {
			t.Errorf("%s: error is %v; want ErrInvalid that says %q", test.what, test.err, test.says)
		}
	}
}

func TestBadClientOptionsAreRefusedWithAReason(t *testing.T) {
	for what, opt := range map[string]lockstep.Option{
		"TTL of 999ms":      lockstep.WithTTL(time.Second - time.Millisecond),
		"TTL of 24h0m0.001": lockstep.WithTTL(lockstep.MaxTTL + time.Millisecond),
		"prefix of 512":     lockstep.WithPrefix(strings.Repeat("p", lockstep.MaxName)),
		"control character": lockstep.WithPrefix("a\x00"),
	} {
		_, err := lockstep.New(memengine.New(), opt)
		wantErr(t, err, lockstep.ErrInvalid)
		if !strings.Contains(err.Error(), what) {
			t.Errorf("error %q does not say %q", err, what)
		}
	}
	_, err := lockstep.New(nil)
	wantErr(t, err, lockstep.ErrInvalid)
	_, err = lockstep.Open(t.Context(), "mem:", nil)
	wantErr(t, err, lockstep.ErrInvalid)
	_, err = lockstep.Open(t.Context(), "redis://h", memengine.Driver)
	wantErr(t, err, lockstep.ErrInvalid)
	_, err = lockstep.Open(t.Context(), "mem:?fast=1", engine.Drivers{memengine.Driver})
	wantErr(t, err, lockstep.ErrInvalid)
}

func TestPrefixIsPutBeforeNamesAndTakenOffAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		a, b := s.client(lockstep.WithPrefix("app/")), s.client()
		lock(t, a.Mutex("n"))
		_, err := b.Mutex("app/n").TryLock(t.Context())
		wantErr(t, err, lockstep.ErrHeld)
		lock(t, b.Mutex("n"))
		if got := names(t, a); !slices.Equal(got, []string{"n"}) {
			t.Errorf("names are %q", got)
		}
		if got := names(t, b); !slices.Equal(got, []string{"app/n", "n"}) {
			t.Errorf("names are %q", got)
		}
		line, err := a.Line(t.Context(), "n")
		wantNo(t, err)
		if line.Name != "n" || len(line.Holders) != 1 {
			t.Errorf("line is %+v", line)
		}
	})
}

func names(t *testing.T, c *lockstep.Client) []string {
	t.Helper()
	var got []string
	for name, err := range c.Names(t.Context(), "") {
		wantNo(t, err)
		got = append(got, name)
	}
	slices.Sort(got)
	return got
}

func TestProgressTellsThePlaceInLineAndWhoHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		holder := lock(t, s.client().Mutex("n"))
		second := make(chan *lockstep.Lease, 1)
		go func() { second <- lock(t, s.client().Mutex("n")) }()
		synctest.Wait()
		var places []int
		third := make(chan *lockstep.Lease, 1)
		go func() {
			third <- lock(t, s.client().Mutex("n", lockstep.WithProgress(func(p lockstep.Progress) {
				places = append(places, p.Place)
				if len(p.Line.Holders) != 1 || p.Name != "n" {
					t.Errorf("progress is %+v", p)
				}
			})))
		}()
		synctest.Wait()
		wantNo(t, holder.Release(t.Context()))
		l := <-second
		synctest.Wait()
		wantNo(t, l.Release(t.Context()))
		<-third
		if places = slices.Compact(places); !slices.Equal(places, []int{2, 1}) {
			t.Errorf("places were %v; want 2, then 1", places)
		}
	})
}

func TestObserverIsToldOfEverythingOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var seen []string
		note := func(what string) { mu.Lock(); seen = append(seen, what); mu.Unlock() }
		c, r := newService(t).rigged(lockstep.WithObserver(lockstep.Observer{
			Waiting: func(name string) { note("waiting " + name) },
			Granted: func(l *lockstep.Lease, _ time.Duration) { note("granted " + l.Name()) },
			Renewed: func(n int, _ time.Duration) { note("renewed") },
			Lost: func(l *lockstep.Lease, _ time.Duration, why error) {
				wantErr(t, why, lockstep.ErrLost)
				note("lost " + l.Name())
			},
			Released: func(l *lockstep.Lease, held time.Duration) { note("released " + l.Name() + " " + held.String()) },
		}))
		a := lock(t, c.Mutex("a"))
		time.Sleep(ttl / 2)
		wantNo(t, a.Release(t.Context()))
		wantNo(t, a.Release(t.Context()))
		b := lock(t, c.Mutex("b"))
		r.set(func() { r.cut = true })
		<-b.Context().Done()
		synctest.Wait()
		_ = b.Err()
		want := []string{"waiting a", "granted a", "renewed", "released a 5s", "waiting b", "granted b", "lost b"}
		mu.Lock()
		defer mu.Unlock()
		if !slices.Equal(seen, want) {
			t.Errorf("seen %q; want %q", seen, want)
		}
	})
}

func TestCloseReleasesWhatIsHeldAndLeavesNoGoroutine(t *testing.T) {
	before := runtime.NumGoroutine()
	s := newService(t)
	c := s.client()
	var leases []*lockstep.Lease
	for _, name := range []string{"a", "b", "c"} {
		leases = append(leases, lock(t, c.Mutex(name)))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_ = leases[0].Release(ctx) // goes on in the background
	wantNo(t, c.Close())
	wantNo(t, c.Close())
	for _, l := range leases {
		wantErr(t, l.Err(), lockstep.ErrReleased)
		wantNo(t, l.Release(t.Context()))
	}
	_, err := c.Mutex("a").Lock(t.Context())
	wantErr(t, err, lockstep.ErrClosed)
	for _, name := range []string{"a", "b", "c"} {
		o := s.client()
		wantNo(t, lock(t, o.Mutex(name)).Release(t.Context()))
		wantNo(t, o.Close())
	}
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			buf := make([]byte, 1<<20)
			t.Fatalf("goroutines left:\n%s", buf[:runtime.Stack(buf, true)])
		}
	}
}

func TestLeasesHaveNoGoroutineOfTheirOwn(t *testing.T) {
	c := newService(t).client()
	first := lock(t, c.Mutex("first"))
	before := runtime.NumGoroutine()
	for i := range 1000 {
		lock(t, c.Mutex("n"+string(rune('a'+i%26))+strings.Repeat("x", i/26)))
	}
	if grown := runtime.NumGoroutine() - before; grown > 5 {
		t.Errorf("%d goroutines more for 1,000 leases", grown)
	}
	wantNo(t, first.Err())
}
