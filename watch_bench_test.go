package lockstep_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine/memengine"
)

// From before a put to when the first and the last of 1,000 watchers have it.
func BenchmarkWatch1000(b *testing.B) {
	const watchers = 1000
	m := newBenchClient(b, memengine.New()).Map("m")
	var running sync.WaitGroup
	defer running.Wait()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	var ready, woken atomic.Int64
	var start time.Time
	var firstTook, lastTook time.Duration
	done := make(chan struct{})
	for range watchers {
		running.Go(func() {
			for change, err := range m.Watch(ctx) {
				if err != nil {
					return
				}
				if change.Snapshot {
					if ready.Add(1) == watchers {
						done <- struct{}{}
					}
					continue
				}
				switch woken.Add(1) {
				case 1:
					firstTook += time.Since(start)
				case watchers:
					lastTook += time.Since(start)
					done <- struct{}{}
				}
			}
		})
	}
	<-done
	for b.Loop() {
		woken.Store(0)
		start = time.Now()
		if _, err := m.Put(b.Context(), "k", []byte("v")); err != nil {
			b.Fatal(err)
		}
		<-done
	}
	b.ReportMetric(float64(firstTook.Microseconds())/float64(b.N), "µs/first")
	b.ReportMetric(float64(lastTook.Microseconds())/float64(b.N), "µs/last")
}
