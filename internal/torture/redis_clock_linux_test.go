package torture

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/clockshim"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// What a step of the server's clock does to locks under load:
//
//	forward, beyond what is left of a TTL   a held key expires at once, and two may
//	                                        believe until the first has renewed or its
//	                                        window closed (S1 is not kept); tokens
//	                                        rise, so a fence holds (S2 is)
//	back, by less than the retention        S1 and S2 are kept: what is held lives
//	                                        longer, and the counter is remembered
//
// And after either, no waiter sleeps.
const clockTTL = 6 * time.Second

type clockTest struct {
	t       *testing.T
	shim    *clockshim.Shim
	server  *redistest.Server
	a, b    *lockstep.Client
	renewed atomic.Int64 // by a
	load    *load
}

func startClockTest(t *testing.T) *clockTest {
	t.Helper()
	c := &clockTest{t: t, shim: clockshim.Build(t)}
	c.server = redistest.StartWith(t, redistest.Options{Env: c.shim.Env()})
	c.a = open(t, c.server.Addr, clockTTL, lockstep.WithObserver(lockstep.Observer{Renewed: func(int, time.Duration) { c.renewed.Add(1) }}))
	c.b = open(t, c.server.Addr, clockTTL)
	c.load = startLoad(t, c.a, c.b)
	return c
}

// awaitRenewals waits until the server's clock, as it is now, has been met by
// whole renewals of a.
func (c *clockTest) awaitRenewals(n int64) {
	c.t.Helper()
	ctx := guarded(c.t, hang)
	for want := c.renewed.Load() + n; c.renewed.Load() < want; {
		select {
		case <-ctx.Done():
			c.t.Fatal("nothing is renewed any more")
		case <-time.After(5 * time.Millisecond): // between two looks
		}
	}
}

// load is holders of some names that come and go, two clients each.
type load struct {
	names   []*checker
	running sync.WaitGroup
	stop    context.CancelFunc
}

func startLoad(t *testing.T, clients ...*lockstep.Client) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{stop: cancel}
	for i := range 4 {
		beliefs := &checker{}
		l.names = append(l.names, beliefs)
		for j, c := range clients {
			l.running.Go(func() {
				for ctx.Err() == nil {
					lease, err := c.Mutex(fmt.Sprintf("load%d", i)).Lock(ctx)
					if err != nil {
						if ctx.Err() == nil && !told(err) {
							t.Errorf("load: %v", err)
						}
						continue
					}
					end := beliefs.hold(fmt.Sprintf("client %d", j), lease.Token())
					context.AfterFunc(lease.Context(), end)
					linger(4)
					end()
					_ = lease.Release(ctx) // lost, where the clock stepped
				}
			})
		}
	}
	t.Cleanup(func() { l.stop(); l.running.Wait() })
	return l
}

// goesOn waits until each name has had some more holders.
func (l *load) goesOn(t *testing.T) {
	t.Helper()
	ctx := guarded(t, hang)
	for i, beliefs := range l.names {
		for want := beliefs.len() + 3; beliefs.len() < want; {
			select {
			case <-ctx.Done():
				t.Fatalf("nobody takes load%d any more", i)
			case <-time.After(time.Millisecond): // between two looks
			}
		}
	}
}

// check ends the load.
func (l *load) check(t *testing.T, exclusive bool) {
	t.Helper()
	l.stop()
	l.running.Wait()
	for _, beliefs := range l.names {
		beliefs.check(t, exclusive)
	}
}

func TestAServersClockThatStepsBackBreaksNothing(t *testing.T) {
	c := startClockTest(t)
	first := lock(t, c.a.Mutex("n"))
	next := lockLater(guarded(t, 2*hang), c.b.Mutex("n"))
	awaitWaiters(t, c.a, "n", 1)
	for range 2 {
		c.load.goesOn(t)
		c.shim.Step(-time.Minute)
		c.load.goesOn(t)
		c.awaitRenewals(2)
		if err := first.Err(); err != nil {
			t.Fatalf("what was held when the clock stepped back: %v", err)
		}
		select {
		case o := <-next:
			t.Fatalf("the other got it: %+v", o)
		default:
		}
	}
	release(t, first)
	second := receive(t, next)
	if second.Token() <= first.Token() {
		t.Errorf("token %d after %d", second.Token(), first.Token())
	}
	release(t, second)
	c.load.check(t, true)
}

func TestAServersClockThatStepsForwardKeepsTokensRising(t *testing.T) {
	c := startClockTest(t)
	for range 2 {
		first := lock(t, c.a.Mutex("n"))
		next := lockLater(guarded(t, hang), c.b.Mutex("n"))
		awaitWaiters(t, c.a, "n", 1)
		c.load.goesOn(t)

		c.shim.Step(time.Minute)
		second := receive(t, next)
		t.Logf("the next holder came while the first believed: %v", first.Err() == nil)
		if second.Token() <= first.Token() {
			t.Errorf("token %d after %d", second.Token(), first.Token())
		}
		// The first is told at its next renewal at the latest.
		select {
		case <-first.Context().Done():
		case <-time.After(hang):
			t.Fatal("the first holder is never told")
		}
		if !errors.Is(first.Err(), lockstep.ErrLost) {
			t.Errorf("the first holder ended by %v, want ErrLost", first.Err())
		}
		if second.Err() != nil {
			t.Errorf("the second holder: %v", second.Err())
		}
		release(t, second)
		c.load.goesOn(t)
	}
	c.load.check(t, false)
}

// If the steps are many, some script runs while the clock steps. Then the time by
// which it sees keys expire, which stands still in a script, is not the time by
// which it makes them: a key that it has just made for 10 s has expired to it.
func TestSoakScriptsAreRunWhileTheClockStepsBack(t *testing.T) {
	c := startClockTest(t)
	for range tries(200, 2000) {
		c.load.goesOn(t)
		c.shim.Step(-time.Minute)
	}
	c.load.check(t, true)
}

// Back and forth, as a clock that somebody sets by hand: tokens never repeat,
// and nobody sleeps.
func TestSoakAServersClockThatStepsToAndFroKeepsTokensRising(t *testing.T) {
	c := startClockTest(t)
	for range tries(2, 20) {
		for _, step := range []time.Duration{time.Minute, -time.Minute, -time.Minute, time.Minute} {
			first := lock(t, c.a.Mutex("n"))
			next := lockLater(guarded(t, hang), c.b.Mutex("n"))
			c.shim.Step(step)
			c.load.goesOn(t)
			_ = first.Release(guarded(t, hang)) // lost, where the clock stepped forward
			second := receive(t, next)
			if second.Token() <= first.Token() {
				t.Errorf("after a step of %v: token %d after %d", step, second.Token(), first.Token())
			}
			_ = second.Release(guarded(t, hang))
		}
	}
	c.load.check(t, false)
}
