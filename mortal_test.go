package lockstep_test

import (
	"context"
	"iter"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

// mortal is the engine of a program that is killed at a call of the test's choice,
// just before or just after the engine carries it out. A dead program asks nothing
// and hears nothing: its calls end with their contexts.
type mortal struct {
	engine.Engine

	mu    sync.Mutex
	calls int
	dies  death // the zero value: never
	dead  bool
}

// death is at the nth call, renewals aside.
type death struct {
	at    int
	after bool // the engine has carried it out
}

func (s *service) mortal(dies death) (*lockstep.Client, *mortal) {
	s.t.Helper()
	m := &mortal{Engine: s.s.Engine(), dies: dies}
	return s.over(&rig{Engine: m}), m
}

// everyDeath runs f in a bubble with a program that dies at each of its calls in
// turn, and before that with one that does not. f says how many calls it made.
func everyDeath(t *testing.T, f func(t *testing.T, d death) (calls int)) {
	t.Helper()
	var calls int
	synctest.Test(t, func(t *testing.T) { calls = f(t, death{}) })
	if calls < 3 {
		t.Fatalf("the program made %d calls: does anybody die?", calls)
	}
	for at := 1; at <= calls; at++ {
		for _, after := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) { f(t, death{at, after}) })
		}
	}
}

func (m *mortal) made() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

// meet says whether the program dies at this call, or has before.
func (m *mortal) meet(counts bool) (dies, after bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.dead {
		return true, false
	}
	if !counts {
		return false, false
	}
	m.calls++
	m.dead = m.calls == m.dies.at
	return m.dead, m.dies.after
}

// step is something that the program does without its engine.
func (m *mortal) step(ctx context.Context) error {
	_, err := mortally(ctx, m, func(context.Context) (struct{}, error) { return struct{}{}, nil })
	return err
}

func mortally[T any](ctx context.Context, m *mortal, do func(context.Context) (T, error)) (T, error) {
	dies, after := m.meet(true)
	if !dies {
		return do(ctx)
	}
	if after {
		do(ctx)
	}
	<-ctx.Done()
	var none T
	return none, ctx.Err()
}

func mortalItems[T any](ctx context.Context, m *mortal, items iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		if dies, _ := m.meet(true); dies {
			<-ctx.Done()
			yield(none, ctx.Err())
			return
		}
		for item, err := range items {
			if dies, _ := m.meet(false); dies {
				<-ctx.Done()
				yield(none, ctx.Err())
				return
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

func (m *mortal) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	s, err := mortally(ctx, m, func(ctx context.Context) (engine.Session, error) { return m.Engine.Begin(ctx, o) })
	if err != nil {
		return nil, err
	}
	return &mortalSession{s, m}, nil
}

func (m *mortal) Line(ctx context.Context, name string) (engine.Line, error) {
	return mortally(ctx, m, func(ctx context.Context) (engine.Line, error) { return m.Engine.Line(ctx, name) })
}

func (m *mortal) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return mortalItems(ctx, m, m.Engine.WatchLine(ctx, name))
}

func (m *mortal) Store() engine.Store { return mortalStore{m.Engine.Store(), m} }

type mortalSession struct {
	engine.Session
	m *mortal
}

func (s *mortalSession) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	if dies, _ := s.m.meet(false); dies {
		<-ctx.Done()
		return engine.Renewal{}, ctx.Err()
	}
	return s.Session.Renew(ctx, claims)
}

func (s *mortalSession) End(ctx context.Context, claims []*engine.Claim) error {
	if dies, _ := s.m.meet(false); dies {
		return engine.ErrSessionEnded // the test's own end: nobody is told
	}
	return s.Session.End(ctx, claims)
}

func (s *mortalSession) Acquire(ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
	return mortally(ctx, s.m, func(ctx context.Context) (engine.Grant, error) { return s.Session.Acquire(ctx, c, again) })
}

func (s *mortalSession) Release(ctx context.Context, c *engine.Claim) (bool, error) {
	return mortally(ctx, s.m, func(ctx context.Context) (bool, error) { return s.Session.Release(ctx, c) })
}

type mortalStore struct {
	engine.Store
	m *mortal
}

func (s mortalStore) List(ctx context.Context, name string) (engine.Event, error) {
	return mortally(ctx, s.m, func(ctx context.Context) (engine.Event, error) { return s.Store.List(ctx, name) })
}

func (s mortalStore) Get(ctx context.Context, name, key string) (engine.Entry, error) {
	return mortally(ctx, s.m, func(ctx context.Context) (engine.Entry, error) { return s.Store.Get(ctx, name, key) })
}

func (s mortalStore) Commit(ctx context.Context, name string, tx engine.Tx) (engine.Revision, error) {
	return mortally(ctx, s.m, func(ctx context.Context) (engine.Revision, error) { return s.Store.Commit(ctx, name, tx) })
}

func (s mortalStore) Watch(ctx context.Context, name string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return mortalItems(ctx, s.m, s.Store.Watch(ctx, name, after))
}

// same fails unless all are alike.
func same[T comparable](t *testing.T, what string, all []T) {
	t.Helper()
	if len(slices.Compact(slices.Clone(all))) > 1 {
		t.Errorf("%s differ: %v", what, all)
	}
}
