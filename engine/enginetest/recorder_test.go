package enginetest

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// recorder is a TB that notes what a check finds.
type recorder struct {
	ctx context.Context

	mu       sync.Mutex
	faults   []string
	cleanups []func()
}

func (r *recorder) Helper()                  {}
func (r *recorder) Logf(string, ...any)      {}
func (r *recorder) Context() context.Context { return r.ctx }

func (r *recorder) Cleanup(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.cleanups = append(r.cleanups, f)
}

func (r *recorder) Errorf(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

// record runs one rule's check on the reference with every handle changed by
// wrap, and returns what it found. It has a bubble's own time, so that a check
// that a broken engine makes hang costs nothing.
func record(t *testing.T, areaName, rule string, wrap func(*brokenEngine)) (faults []string) {
	t.Helper()
	c := findCheck(t, areaName, rule)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		r := &recorder{ctx: ctx}
		r.do(func() {
			s := newSuite(r, memory(wrap))
			if m := s.missing(c); m != "" {
				r.Fatalf("does not apply: %s", m)
			}
			c.run(r, s)
		})
		cancel()
		for _, f := range slices.Backward(r.cleanups) {
			r.do(f)
		}
		faults = r.faults
	})
	return faults
}

// do runs f where Fatalf may end it.
func (r *recorder) do(f func()) {
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	<-done
}

func findCheck(t *testing.T, areaName, rule string) check {
	t.Helper()
	for _, a := range areas {
		for _, c := range a.checks {
			if a.name == areaName && c.rule == rule {
				return c
			}
		}
	}
	t.Fatalf("no check %q in area %q", rule, areaName)
	return check{}
}

// memory is a harness on the reference, with every handle changed by wrap.
func memory(wrap func(*brokenEngine)) Harness {
	service := memengine.NewService()
	return Harness{
		Open: func(TB) engine.Engine {
			b := &brokenEngine{Engine: service.Engine()}
			wrap(b)
			return b
		},
		EndSession:   func(_ TB, s engine.Session) { service.EndSession(s.(*brokenSession).Session) },
		Forget:       func(TB) { service.Forget() },
		Compact:      func(_ TB, m string) { service.Compact(m) },
		Transactions: func(TB) int { return service.Transactions() },
	}
}
