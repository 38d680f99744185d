package redisengine

import (
	"fmt"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// BenchmarkPutToEvent is the time from the start of a commit until a watcher in
// another client has its event; publish-message is the least that it can be.
func BenchmarkPutToEvent(b *testing.B) {
	server := redistest.Start(b)
	for _, size := range []int{16, 4 << 10, 64 << 10} { // the last is read from the log
		b.Run(fmt.Sprintf("value=%d", size), func(b *testing.B) {
			writer, events := newStoreOn(b, server), watched(b, newStoreOn(b, server), "m")
			tx := engine.Tx{Put: []engine.Entry{{Key: "k", Value: make([]byte, size)}}}
			for b.Loop() {
				if _, err := writer.Commit(b.Context(), "m", tx); err != nil {
					b.Fatal(err)
				}
				<-events
			}
		})
	}
	b.Run("publish-message", func(b *testing.B) {
		sender, receiver := newStoreOn(b, server).t, newStoreOn(b, server).t
		up, messages := make(chan struct{}), make(chan string, 1)
		go receiver.Subscribe(b.Context(), "c", func() { close(up) }, func(m string) { messages <- m })
		<-up
		for b.Loop() {
			sender.Do(b.Context(), Command{Args: []string{"PUBLISH", "c", "m"}})
			<-messages
		}
	})
}

// watched are the events of a watch that has begun, the whole map excepted.
func watched(b *testing.B, s *store, m string) <-chan engine.Event {
	b.Helper()
	began, events := make(chan struct{}), make(chan engine.Event, 1)
	go func() {
		for ev, err := range s.Watch(b.Context(), m, 0) {
			switch {
			case b.Context().Err() != nil:
				return
			case err != nil:
				b.Errorf("watch: %v", err)
				return
			case ev.Full:
				close(began)
			case len(ev.Entries) > 0:
				events <- ev
			}
		}
	}()
	<-began
	return events
}

// BenchmarkCommit shows what a commit costs, and for how long the server does
// nothing else (server-µs).
func BenchmarkCommit(b *testing.B) {
	server := redistest.Start(b)
	s := newStoreOn(b, server)
	for _, c := range []struct{ entries, size int }{{1, 16}, {1, 4 << 10}, {1, 1 << 20}, {100, 16}, {1000, 16}, {15, 1 << 20}} {
		b.Run(fmt.Sprintf("entries=%d,value=%d", c.entries, c.size), func(b *testing.B) {
			var tx engine.Tx
			for i := range c.entries {
				tx.Put = append(tx.Put, engine.Entry{Key: fmt.Sprint(i), Value: make([]byte, c.size)})
			}
			ask(b, server, "FLUSHALL")
			ask(b, server, "CONFIG", "RESETSTAT")
			for b.Loop() {
				if _, err := s.Commit(b.Context(), "m", tx); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(scriptTime(b, server), "server-µs/op")
		})
	}
}

// BenchmarkList reads a map at once, or page by page.
func BenchmarkList(b *testing.B) {
	server := redistest.Start(b)
	s := newStoreOn(b, server)
	for _, entries := range []int{100, 1000, 100000} {
		b.Run(fmt.Sprintf("entries=%d", entries), func(b *testing.B) {
			ask(b, server, "FLUSHALL")
			for i := 0; i < entries; i += 1000 {
				var tx engine.Tx
				for k := i; k < min(i+1000, entries); k++ {
					tx.Put = append(tx.Put, engine.Entry{Key: fmt.Sprint(k), Value: make([]byte, 16)})
				}
				if _, err := s.Commit(b.Context(), "m", tx); err != nil {
					b.Fatal(err)
				}
			}
			for b.Loop() {
				if ev, err := s.List(b.Context(), "m"); err != nil || len(ev.Entries) != entries {
					b.Fatal(len(ev.Entries), err)
				}
			}
		})
	}
}

// scriptTime is the mean time of a script at the server.
func scriptTime(t testing.TB, server *redistest.Server) float64 {
	t.Helper()
	calls, usec := commandStat(t, server, "evalsha")
	return float64(usec) / float64(max(calls, 1))
}
