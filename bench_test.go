package lockstep_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

func newBenchClient(b *testing.B, e engine.Engine) *lockstep.Client {
	c, err := lockstep.New(e, lockstep.WithLogger(nil))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Close() })
	return c
}

// What the core adds to an engine that costs next to nothing.
func BenchmarkLockAndRelease(b *testing.B) {
	m := newBenchClient(b, memengine.New()).Mutex("n")
	b.ReportAllocs()
	for b.Loop() {
		l, err := m.Lock(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		if err := l.Release(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}

// nothing is an engine that grants everything and keeps nothing, so that what
// is left is the core's.
type nothing struct{ engine.Engine }

type nothingSession struct {
	engine.Session
	renewals int
}

func (nothing) Begin(context.Context, engine.SessionOptions) (engine.Session, error) {
	return &nothingSession{}, nil
}

func (*nothingSession) TTL() time.Duration { return time.Second }

func (*nothingSession) Acquire(context.Context, *engine.Claim, bool) (engine.Grant, error) {
	return engine.Grant{Token: 1}, nil
}

func (s *nothingSession) Renew(context.Context, []*engine.Claim) (engine.Renewal, error) {
	s.renewals++
	return engine.Renewal{}, nil
}
func (*nothingSession) Release(context.Context, *engine.Claim) (bool, error) { return true, nil }
func (*nothingSession) End(context.Context, []*engine.Claim) error           { return nil }

// 10,000 leases: what each costs in memory, goroutines and renewals.
func BenchmarkHold10000(b *testing.B) {
	const n = 10_000
	c := newBenchClient(b, nothing{memengine.New()})
	names := make([]string, n)
	for i := range names {
		names[i] = "name/" + strconv.Itoa(i)
	}
	for b.Loop() {
		var before, after runtime.MemStats
		leases := make([]*lockstep.Lease, n)
		runtime.GC()
		runtime.ReadMemStats(&before)
		goroutines := runtime.NumGoroutine()
		for i, name := range names {
			l, err := c.Mutex(name).Lock(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			leases[i] = l
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "heap-B/lease")
		b.ReportMetric(float64(after.StackInuse-before.StackInuse)/n, "stack-B/lease")
		b.ReportMetric(float64(runtime.NumGoroutine()-goroutines), "goroutines")
		for _, l := range leases {
			if err := l.Release(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	}
}
