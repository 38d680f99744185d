package sqliteengine

import (
	"context"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

func open(t testing.TB, dir string, opts ...Option) *Engine {
	t.Helper()
	e, err := Open(t.Context(), dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func begin(t testing.TB, e *Engine, ttl time.Duration) *Session {
	t.Helper()
	s, err := e.Begin(t.Context(), engine.SessionOptions{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Session)
}

func mutex(name, id string) *engine.Claim {
	return &engine.Claim{ID: engine.ClaimID(id), Name: name, Kind: engine.Mutex, Shares: 1, Limit: 1}
}

func TestHandOffBetweenEngines(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	sa, sb := begin(t, a, 10*time.Second), begin(t, b, 10*time.Second)
	ca, cb := mutex("n", "a"), mutex("n", "b")
	ga, err := sa.Acquire(t.Context(), ca, false)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan engine.Grant, 1)
	go func() {
		g, err := sb.Acquire(t.Context(), cb, false)
		if err != nil {
			t.Error(err)
		}
		got <- g
	}()
	for {
		l, err := a.Line(t.Context(), "n")
		if err != nil {
			t.Fatal(err)
		}
		if len(l.Waiters) == 1 {
			break
		}
	}
	start := time.Now()
	if ok, err := sa.Release(t.Context(), ca); !ok || err != nil {
		t.Fatal(ok, err)
	}
	gb := <-got
	t.Log(time.Since(start), ga, gb)
	if gb.Token <= ga.Token {
		t.Fatal("token")
	}
	if r, err := sb.Renew(t.Context(), []*engine.Claim{cb}); err != nil || len(r.Lost) > 0 {
		t.Fatal(r, err)
	}
	if err := sb.End(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

func BenchmarkUncontended(b *testing.B) {
	e := open(b, b.TempDir())
	s := begin(b, e, time.Hour)
	c := mutex("invoices/42", "abcdefghijklmnopqrstuvwxyz")
	for b.Loop() {
		if _, err := s.Acquire(b.Context(), c, false); err != nil {
			b.Fatal(err)
		}
		if _, err := s.Release(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}
