package goredis

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// A server or a client that speaks only RESP2 carries locks, hand-overs and watches.
func TestRESP2IsEnough(t *testing.T) {
	s := redistest.Start(t)
	open := func() *lockstep.Client {
		e, err := FromGoRedis(t.Context(), clientTo(t, s.Addr, func(o *redis.Options) { o.Protocol = 2 }))
		if err != nil {
			t.Fatal(err)
		}
		c, err := lockstep.New(e)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Error(err)
			}
			if err := e.Close(); err != nil {
				t.Error(err)
			}
		})
		return c
	}
	a, b := open(), open()
	first, err := a.Mutex("n").Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := make(chan *lockstep.Lease)
	go func() {
		defer close(next)
		if l, err := b.Mutex("n").Lock(t.Context()); err == nil {
			next <- l
		}
	}()
	for waiting := 0; waiting == 0; {
		l, err := a.Line(t.Context(), "n")
		if err != nil {
			t.Fatal(err)
		}
		waiting = len(l.Waiters)
	}
	if err := first.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	second := <-next
	if second == nil || second.Token() <= first.Token() {
		t.Fatalf("%v after %v", second, first)
	}

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	begun := false
	for change, err := range a.Map("m").Watch(ctx) {
		switch {
		case err != nil:
			t.Fatal(err)
		case !begun:
			begun = true
			if _, err := b.Map("m").Put(t.Context(), "k", []byte("v")); err != nil {
				t.Fatal(err)
			}
		case change.Key == "k" && string(change.Value) == "v":
			cancel()
			return
		}
	}
}
