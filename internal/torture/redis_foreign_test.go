package torture

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// with runs a test against each foreign client, on a server of its own.
func with(t *testing.T, test func(t *testing.T, s *redistest.Server, f foreign)) {
	for _, f := range foreigners {
		t.Run(f.name, func(t *testing.T) {
			s := redistest.Start(t)
			test(t, s, f.start(t, s))
		})
	}
}

// mustTry has the foreign client try "n".
func mustTry(t *testing.T, f foreign, want bool) (giveBack func() error) {
	t.Helper()
	giveBack, got, err := f.try(guarded(t, hang), "n")
	if err != nil || got != want {
		t.Fatalf("the foreign client's try: %v, %v, want %v", got, err, want)
	}
	return giveBack
}

func TestWhatWeHoldAForeignClientIsRefused(t *testing.T) {
	with(t, func(t *testing.T, s *redistest.Server, f foreign) {
		a, b := open(t, s.Addr, lockstep.DefaultTTL), open(t, s.Addr, lockstep.DefaultTTL)
		first := lock(t, a.Mutex("n"))
		mustTry(t, f, false)

		// Handed over inside of our line, it stays ours.
		got := lockLater(guarded(t, hang), b.Mutex("n"))
		awaitWaiters(t, a, "n", 1)
		release(t, first)
		second := receive(t, got)
		mustTry(t, f, false)
		if second.Err() != nil {
			t.Error(second.Err())
		}

		release(t, second)
		giveBack := mustTry(t, f, true)
		if err := giveBack(); err != nil {
			t.Error(err)
		}
	})
}

func TestWhatAForeignClientHoldsWeAreRefused(t *testing.T) {
	with(t, func(t *testing.T, s *redistest.Server, f foreign) {
		c := open(t, s.Addr, lockstep.DefaultTTL)
		giveBack := mustTry(t, f, true)

		_, err := c.Mutex("n").TryLock(guarded(t, hang))
		held, ok := errors.AsType[*lockstep.HeldError](err)
		if !ok || !errors.Is(err, lockstep.ErrHeld) {
			t.Fatalf("TryLock: %v, want ErrHeld", err)
		}
		if len(held.Line.Holders) != 1 || !held.Line.Holders[0].Foreign {
			t.Errorf("the holders are %+v, want one foreign", held.Line.Holders)
		}
		if _, err := c.Mutex("n", lockstep.WithWait(time.Millisecond)).Lock(guarded(t, hang)); !errors.Is(err, lockstep.ErrHeld) {
			t.Errorf("Lock that waits for a moment: %v, want ErrHeld", err)
		}
		if err := giveBack(); err != nil {
			t.Errorf("after our tries: %v", err)
		}
	})
}

// Nobody tells us that a foreign client has given back: the head of the line
// looks by itself.
func TestAForeignClientsLockIsWaitedFor(t *testing.T) {
	with(t, func(t *testing.T, s *redistest.Server, f foreign) {
		c := open(t, s.Addr, lockstep.DefaultTTL)
		before := lock(t, c.Mutex("n"))
		release(t, before)

		giveBack := mustTry(t, f, true)
		first := lockLater(guarded(t, hang), c.Mutex("n"))
		awaitWaiters(t, c, "n", 1)
		second := lockLater(guarded(t, hang), c.Mutex("n"))
		line := awaitWaiters(t, c, "n", 2)
		if len(line.Holders) != 1 || !line.Holders[0].Foreign {
			t.Errorf("the holders are %+v, want one foreign", line.Holders)
		}
		select {
		case o := <-first:
			t.Fatalf("Lock beside a foreign holder: %+v", o)
		default:
		}
		if err := giveBack(); err != nil {
			t.Fatalf("while we wait: %v", err)
		}
		l := receive(t, first)
		mustTry(t, f, false)
		release(t, l)
		last := receive(t, second)
		if l.Token() <= before.Token() || last.Token() <= l.Token() {
			t.Errorf("tokens %d, %d, %d do not rise", before.Token(), l.Token(), last.Token())
		}
		release(t, last)
	})
}

// Redisson's lock is a hash, for one.
func TestAKeyOfAnotherTypeIsAMismatchAndStaysAsItIs(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s.Addr, lockstep.DefaultTTL)
	ctx := guarded(t, hang)
	for _, set := range [][]string{
		{"HSET", "n", "uuid:1", "1"}, {"LPUSH", "n", "x"}, {"SADD", "n", "x"}, {"ZADD", "n", "1", "x"}, {"XADD", "n", "*", "k", "v"},
	} {
		s.MustDo(t, set...)
		before := s.MustDo(t, "DUMP", "n")
		for how, take := range map[string]func() (*lockstep.Lease, error){
			"Lock":         func() (*lockstep.Lease, error) { return c.Mutex("n").Lock(ctx) },
			"TryLock":      func() (*lockstep.Lease, error) { return c.Mutex("n").TryLock(ctx) },
			"LockFor":      func() (*lockstep.Lease, error) { return c.Mutex("n").LockFor(ctx, time.Minute) },
			"a write lock": func() (*lockstep.Lease, error) { return c.RWMutex("n").Lock(ctx) },
		} {
			if _, err := take(); !errors.Is(err, lockstep.ErrMismatch) {
				t.Errorf("%s where %s made the key: %v, want ErrMismatch", how, set[0], err)
			}
		}
		if after := s.MustDo(t, "DUMP", "n"); after != before {
			t.Errorf("what %s made is not what it was", set[0])
		}
		s.MustDo(t, "DEL", "n")
		release(t, lock(t, c.Mutex("n")))
	}
}

// Other kinds have a layout that no foreign client respects.
func TestOtherKindsDoNotShareANameWithAForeignClient(t *testing.T) {
	s := redistest.Start(t)
	c := open(t, s.Addr, lockstep.DefaultTTL)
	giveBack := mustTry(t, startBare(t, s), true)
	if _, err := c.RWMutex("n").TryLock(guarded(t, hang)); !errors.Is(err, lockstep.ErrMismatch) {
		t.Errorf("a write lock: %v, want ErrMismatch", err)
	}
	if _, err := c.Semaphore("n", 2).TryAcquire(guarded(t, hang), 1); !errors.Is(err, lockstep.ErrMismatch) {
		t.Errorf("a semaphore: %v, want ErrMismatch", err)
	}
	if err := giveBack(); err != nil {
		t.Error(err)
	}
}

// Both sides want one name, and stay a while inside: an empty critical section
// hides most violations.
func TestOursAndForeignersTakeTurns(t *testing.T) {
	s := redistest.Start(t)
	const each = 15
	var all checker
	var actors sync.WaitGroup
	ctx := guarded(t, hang)
	contend := func(who string, try func() (end func(), giveBack func() error, err error)) {
		actors.Go(func() {
			for done := 0; done < each && ctx.Err() == nil; {
				end, giveBack, err := try()
				if err != nil {
					t.Errorf("%s: %v", who, err)
					return
				}
				if giveBack != nil {
					linger(3)
					end()
					if err := giveBack(); err != nil {
						t.Errorf("%s: %v", who, err)
					}
					done++
				}
				linger(8) // or the others would never find it free
			}
		})
	}
	for i := range 3 {
		c := open(t, s.Addr, lockstep.DefaultTTL)
		who := fmt.Sprintf("lockstep %d", i)
		contend(who, func() (func(), func() error, error) {
			l, err := c.Mutex("n").Lock(ctx)
			if err != nil {
				return nil, nil, err
			}
			return all.hold(who, l.Token()), func() error { return l.Release(ctx) }, nil
		})
	}
	for _, f := range foreigners {
		client := f.start(t, s)
		contend(f.name, func() (func(), func() error, error) {
			giveBack, got, err := client.try(ctx, "n")
			if err != nil || !got {
				return nil, nil, err
			}
			return all.hold(f.name, 0), giveBack, nil
		})
	}
	actors.Wait()
	if ctx.Err() != nil {
		t.Fatal(context.Cause(ctx))
	}
	all.check(t, true)
	if want := each * (3 + len(foreigners)); all.len() != want {
		t.Errorf("%d holds, want %d", all.len(), want)
	}
}

// linger stays where it is for up to so many ms: work, not synchronisation.
func linger(ms int) { time.Sleep(rand.N(time.Duration(ms) * time.Millisecond)) }
