package torture

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// hang is when a test gives up: long beyond what the slowest machine needs.
const hang = time.Minute

// soak says whether a test runs its long form.
func soak() bool { return os.Getenv("LOCKSTEP_SOAK") != "" }

// tries is how many a test makes.
func tries(short, long int) int {
	if soak() {
		return long
	}
	return short
}

// guarded is a context that ends with the test, or when it hangs.
func guarded(t *testing.T, limit time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, fmt.Errorf("torture: nothing happened for %v", limit))
	t.Cleanup(cancel)
	return ctx
}

// open is a client as a program of a user's has it.
func open(t *testing.T, addr string, ttl time.Duration, opts ...lockstep.Option) *lockstep.Client {
	t.Helper()
	opts = append([]lockstep.Option{lockstep.WithTTL(ttl), lockstep.WithLogger(slog.New(slog.DiscardHandler))}, opts...)
	c, err := lockstep.Open(guarded(t, hang), "redis://"+addr, redisengine.Driver, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // the server may be gone by then
	return c
}

func lock(t *testing.T, m *lockstep.Mutex) *lockstep.Lease {
	t.Helper()
	l, err := m.Lock(guarded(t, hang))
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func release(t *testing.T, l *lockstep.Lease) {
	t.Helper()
	if err := l.Release(guarded(t, hang)); err != nil {
		t.Error(err)
	}
}

// outcome is what a Lock in the background came to.
type outcome struct {
	lease *lockstep.Lease
	err   error
}

func lockLater(ctx context.Context, m *lockstep.Mutex) <-chan outcome {
	got := make(chan outcome, 1)
	go func() {
		l, err := m.Lock(ctx)
		got <- outcome{l, err}
	}()
	return got
}

// receive is the lease of a Lock that must come.
func receive(t *testing.T, got <-chan outcome) *lockstep.Lease {
	t.Helper()
	select {
	case o := <-got:
		if o.err != nil {
			t.Fatal(o.err)
		}
		return o.lease
	case <-time.After(hang):
		t.Fatal("a Lock never returned")
		return nil
	}
}

// awaitWaiters waits until so many are in line.
func awaitWaiters(t *testing.T, c *lockstep.Client, name string, n int) lockstep.Line {
	t.Helper()
	ctx := guarded(t, hang)
	for {
		line, err := c.Line(ctx, name)
		if err != nil {
			t.Fatal(err)
		}
		if len(line.Waiters) == n {
			return line
		}
		time.Sleep(time.Millisecond) // between two looks
	}
}

// dump is all that the server has of a name, for the one who must find out.
func dump(s *redistest.Server, name string) string {
	var all []string
	keys, err := s.Do("KEYS", "*"+name+"*")
	if err != nil {
		return err.Error()
	}
	list, _ := keys.([]any)
	for _, k := range list {
		key := k.(string)
		what := []string{"GET", key}
		switch kind, _ := s.Do("TYPE", key); kind {
		case "hash":
			what = []string{"HGETALL", key}
		case "zset":
			what = []string{"ZRANGE", key, "0", "-1", "WITHSCORES"}
		}
		value, err := s.Do(what...)
		left, _ := s.Do("PTTL", key)
		all = append(all, fmt.Sprintf("  %s = %q, %v ms left (%v)", key, value, left, err))
	}
	slices.Sort(all)
	now, _ := s.Do("TIME")
	return fmt.Sprintf("%d keys at %v:\n%s", len(all), now, strings.Join(all, "\n"))
}

// told says whether an error tells the caller of Lock that its place is lost,
// which a fault may do. It may call again, and is not left asleep.
func told(err error) bool {
	return errors.Is(err, lockstep.ErrUnavailable) || errors.Is(err, lockstep.ErrLost)
}

// spread is the least, the median and the greatest.
func spread[T cmp.Ordered](all []T) (least, median, greatest T) {
	if len(all) == 0 {
		return least, median, greatest
	}
	s := slices.Sorted(slices.Values(all))
	return s[0], s[len(s)/2], s[len(s)-1]
}
