package redisengine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// storeHang is when a test of maps gives up; nothing is measured by it.
const storeHang = 45 * time.Second

func storeContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), storeHang, errors.New("nothing happened for "+storeHang.String()))
	t.Cleanup(cancel)
	return ctx
}

// newStoreOn is a store with a client of its own.
func newStoreOn(t testing.TB, server *redistest.Server) *store {
	return newStoreAt(t, server.Addr, retention)
}

// newStoreAt reaches its server at an address, which may be a proxy's.
func newStoreAt(t testing.TB, addr string, keep time.Duration) *store {
	t.Helper()
	o, _, err := clientOption(engine.Target{Scheme: schemeTCP, Hosts: []string{addr}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := connect(storeContext(t), o, func() {})
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan struct{})
	s := newStore(&rueidisTransport{client: c, owned: true}, keep, closed)
	t.Cleanup(func() {
		close(closed)
		c.Close()
		s.wait()
	})
	return s
}

func put(key, value string) engine.Entry { return engine.Entry{Key: key, Value: []byte(value)} }
func del(key string) engine.Entry        { return engine.Entry{Key: key, Deleted: true} }

func mustCommit(t testing.TB, s *store, m string, changes ...engine.Entry) engine.Revision {
	t.Helper()
	r, err := s.Commit(storeContext(t), m, engine.Tx{Put: changes})
	if err != nil {
		t.Fatalf("commit: %v", err)
	}
	return r
}

func mustList(t testing.TB, s *store, m string) engine.Event {
	t.Helper()
	ev, err := s.List(storeContext(t), m)
	if err != nil {
		t.Fatalf("list: %v", err)
	}
	return ev
}

// shown is what an event says, as text: "full a=1 b=2" or "a=1 -b".
func shown(ev engine.Event) string {
	var parts []string
	if ev.Full {
		parts = append(parts, "full")
	}
	for _, e := range ev.Entries {
		if e.Deleted {
			parts = append(parts, "-"+e.Key)
		} else {
			parts = append(parts, fmt.Sprintf("%s=%.20s", e.Key, e.Value))
		}
	}
	return strings.Join(parts, " ")
}

func wantShown(t testing.TB, ev engine.Event, want string) {
	t.Helper()
	if got := shown(ev); got != want {
		t.Fatalf("shown %q at %d, want %q", got, ev.Revision, want)
	}
}

// viewer is a watch of "m" that is read step by step. "Still current" is left out.
type viewer struct {
	t      testing.TB
	events chan engine.Event
	err    error // after events is closed
}

func watchStore(t testing.TB, s *store, after engine.Revision) *viewer {
	t.Helper()
	ctx, cancel := context.WithCancel(storeContext(t))
	v := &viewer{t: t, events: make(chan engine.Event)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(v.events)
		for ev, err := range s.Watch(ctx, "m", after) {
			if err != nil {
				v.err = err
				return
			}
			if !ev.Full && len(ev.Entries) == 0 {
				continue
			}
			select {
			case v.events <- ev:
			case <-ctx.Done():
				return
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return v
}

func (v *viewer) next() engine.Event {
	v.t.Helper()
	select {
	case ev, ok := <-v.events:
		if !ok {
			v.t.Fatalf("the watch ended: %v", v.err)
		}
		return ev
	case <-time.After(storeHang):
		v.t.Fatal("the watch shows nothing")
	}
	return engine.Event{}
}

func (v *viewer) want(text string) engine.Event {
	v.t.Helper()
	ev := v.next()
	wantShown(v.t, ev, text)
	return ev
}

// end is the error with which the watch ends.
func (v *viewer) end() error {
	v.t.Helper()
	for range v.events {
	}
	return v.err
}

// commandStat is how often the server carried a command out, and in how many µs.
func commandStat(t testing.TB, server *redistest.Server, command string) (calls, usec int) {
	t.Helper()
	stats, _ := ask(t, server, "INFO", "commandstats").(string)
	for line := range strings.SplitSeq(stats, "\r\n") {
		if n, _ := fmt.Sscanf(line, "cmdstat_"+command+":calls=%d,usec=%d", &calls, &usec); n == 2 {
			return calls, usec
		}
	}
	return 0, 0
}
