package torture

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/clockshim"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// retention is for how long a token is remembered.
const retention = time.Hour

// A name that nobody uses any more costs nothing after a bounded time (S12): every
// key of ours ends by itself. The server is then told that this time has passed.
func TestSoakNamesThatNobodyUsesLeaveNothing(t *testing.T) {
	shim := clockshim.Build(t)
	s := redistest.StartWith(t, redistest.Options{Env: shim.Env()})
	names := tries(10_000, 1_000_000)
	namesLockedOnce(t, s, names)
	if n := keyCount(t, s); n < int64(names) {
		t.Errorf("%d keys for %d names: nothing is remembered of their tokens", n, names)
	}
	checkLongest(t, s)
	shim.Step(retention + time.Minute)
	ctx := guarded(t, 10*time.Minute)
	for keyCount(t, s) > 0 { // the server removes what has ended bit by bit
		select {
		case <-ctx.Done():
			t.Fatalf("keys are left: %s", dump(s, ""))
		case <-time.After(20 * time.Millisecond): // between two looks
		}
	}
}

// namesLockedOnce is what makes keys.
func namesLockedOnce(t *testing.T, s *redistest.Server, names int) {
	t.Helper()
	c := open(t, s.Addr, lockstep.DefaultTTL)
	inParallel(t, names, func(ctx context.Context, i int) error {
		l, err := c.Mutex(fmt.Sprintf("once/%d", i)).Lock(ctx)
		if err != nil {
			return err
		}
		return l.Release(ctx)
	})
	// Other kinds, and lines that were waited in and watched, have more keys.
	for i := range 50 {
		usedOnce(t, c, fmt.Sprintf("used/%d", i))
	}
}

func usedOnce(t *testing.T, c *lockstep.Client, name string) {
	t.Helper()
	ctx := guarded(t, hang)
	for _, take := range []func(string) (*lockstep.Lease, error){
		func(n string) (*lockstep.Lease, error) { return c.RWMutex(n + "/rw").Lock(ctx) },
		func(n string) (*lockstep.Lease, error) { return c.RWMutex(n + "/rw").RLock(ctx) },
		func(n string) (*lockstep.Lease, error) { return c.Semaphore(n+"/sem", 3).Acquire(ctx, 2) },
		func(n string) (*lockstep.Lease, error) { return c.Mutex(n+"/term").LockFor(ctx, time.Minute) },
	} {
		l, err := take(name)
		if err != nil {
			t.Fatal(err)
		}
		release(t, l)
	}
	first := lock(t, c.Mutex(name))
	next := lockLater(ctx, c.Mutex(name, lockstep.WithProgress(func(lockstep.Progress) {})))
	awaitWaiters(t, c, name, 1)
	release(t, first)
	release(t, receive(t, next))
}

// longest is the time after which the last key is gone.
func longest(t *testing.T, s *redistest.Server) time.Duration {
	t.Helper()
	conn, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	ms := int64(0)
	for cursor := "0"; ; {
		// One request a page: a million keys are asked for their time.
		answer, err := conn.Do("EVAL", `
			local page = redis.call('SCAN', ARGV[1], 'COUNT', 1000)
			local longest = 0
			for _, key in ipairs(page[2]) do
				local left = redis.call('PTTL', key)
				if left == -1 then return {page[1], -1, key} end
				longest = math.max(longest, left)
			end
			return {page[1], longest, ''}`, "0", cursor)
		if err != nil {
			t.Fatal(err)
		}
		page := answer.([]any)
		left := page[1].(int64)
		if left < 0 {
			t.Fatalf("%q never ends", page[2])
		}
		ms = max(ms, left)
		if cursor = page[0].(string); cursor == "0" {
			return time.Duration(ms) * time.Millisecond
		}
	}
}

func keyCount(t *testing.T, s *redistest.Server) int64 {
	t.Helper()
	return s.MustDo(t, "DBSIZE").(int64)
}

func checkLongest(t *testing.T, s *redistest.Server) {
	t.Helper()
	life := longest(t, s)
	t.Logf("%d keys, the last of which ends in %v", keyCount(t, s), life)
	if life > retention+time.Minute {
		t.Errorf("a key lives for %v, want %v at most", life, retention)
	}
}
