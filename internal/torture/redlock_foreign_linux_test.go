package torture

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/go-redsync/redsync/v4"
	redsyncredis "github.com/go-redsync/redsync/v4/redis"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock"
)

// redsync on the same five nodes: the library whose layout Redlock's is.

func startRedsyncOf(t *testing.T, n nodes) foreign {
	t.Helper()
	pools := make([]redsyncredis.Pool, len(n))
	for i, s := range n {
		pools[i] = goredis.NewPool(goRedis(t, s))
	}
	return redsyncLock{redsync.New(pools...)}
}

func TestRedsyncIsRefusedWhatRedlockHolds(t *testing.T) {
	n := startNodes(t, 5)
	f := startRedsyncOf(t, n)
	a, b := openRedlock(t, n, lockstep.DefaultTTL), openRedlock(t, n, lockstep.DefaultTTL)
	first := lock(t, a.Mutex("n"))
	mustTry(t, f, false)
	got := lockLater(guarded(t, hang), b.Mutex("n"))
	awaitWaiters(t, a, "n", 1)
	release(t, first)
	second := receive(t, got)
	mustTry(t, f, false)
	if second.Err() != nil || second.Token() <= first.Token() {
		t.Errorf("after redsync's tries: %v, token %d after %d", second.Err(), second.Token(), first.Token())
	}
	release(t, second)
	awaitFree(t, f)
}

// awaitFree has redsync get the name: our last release returns when a majority has
// done it, and redsync's tries may come before the rest.
func awaitFree(t *testing.T, f foreign) {
	t.Helper()
	ctx := guarded(t, hang)
	for ctx.Err() == nil {
		giveBack, got, err := f.try(ctx, "n")
		if err != nil {
			t.Fatal(err)
		}
		if got {
			if err := giveBack(); err != nil {
				t.Error(err)
			}
			return
		}
	}
	t.Fatal(context.Cause(ctx))
}

func TestRedlockIsRefusedWhatRedsyncHolds(t *testing.T) {
	n := startNodes(t, 5)
	f := startRedsyncOf(t, n)
	c := openRedlock(t, n, redlock.MaxTTL) // no renewal looks in time
	before := lock(t, c.Mutex("n"))
	release(t, before)
	ctx := guarded(t, hang)
	var giveBack func() error
	for got := false; !got; {
		var err error
		if giveBack, got, err = f.try(ctx, "n"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := c.Mutex("n").TryLock(ctx)
	held, ok := errors.AsType[*lockstep.HeldError](err)
	if !ok || len(held.Line.Holders) != 1 || !held.Line.Holders[0].Foreign {
		t.Fatalf("TryLock of what redsync holds: %v, want ErrHeld and a foreign holder", err)
	}
	got := lockLater(ctx, c.Mutex("n"))
	awaitWaiters(t, c, "n", 1)
	if err := giveBack(); err != nil {
		t.Fatalf("while we wait: %v", err)
	}
	l := receive(t, got) // nobody told it
	mustTry(t, f, false)
	if l.Token() <= before.Token() {
		t.Errorf("token %d after %d", l.Token(), before.Token())
	}
	release(t, l)
}

// Both contend for one name: whoever is inside looks whether anybody else is.
func TestRedlockAndRedsyncExcludeEachOther(t *testing.T) {
	n := startNodes(t, 5)
	ctx := guarded(t, hang)
	var inside sync.Mutex
	work := func(who string) {
		if !inside.TryLock() {
			t.Errorf("%s is inside beside another", who)
			return
		}
		time.Sleep(time.Millisecond)
		inside.Unlock()
	}
	var all sync.WaitGroup
	turns := tries(10, 200)
	for range 2 {
		f := startRedsyncOf(t, n)
		all.Go(func() {
			for done := 0; done < turns && ctx.Err() == nil; {
				giveBack, got, err := f.try(ctx, "n")
				if err == nil && got {
					work("redsync")
					err = giveBack()
					done++
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("redsync: %v", err)
				}
				time.Sleep(rand.N(10 * time.Millisecond)) // as its retries do
			}
		})
		c := openRedlock(t, n, lockstep.DefaultTTL)
		all.Go(func() {
			last := lockstep.Token(0)
			for range turns {
				l, err := c.Mutex("n").Lock(ctx)
				if err != nil {
					t.Errorf("Lock: %v", err)
					return
				}
				work("Lockstep")
				if l.Token() <= last {
					t.Errorf("token %d after %d", l.Token(), last)
				}
				last = l.Token()
				release(t, l)
			}
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		t.Error(context.Cause(ctx))
	}
}
