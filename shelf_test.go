package lockstep_test

import (
	"context"
	"iter"
	"sync"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

// shelf is an engine whose store's calls go through functions that a test sets.
type shelf struct {
	engine.Engine

	mu      sync.Mutex
	get     func(ctx context.Context, next func(context.Context) (engine.Entry, error)) (engine.Entry, error)
	list    func(ctx context.Context, next func(context.Context) (engine.Event, error)) (engine.Event, error)
	commit  func(ctx context.Context, tx engine.Tx, next commitFunc) (engine.Revision, error)
	watch   func(ctx context.Context, after engine.Revision) iter.Seq2[engine.Event, error]
	watches int                                   // that were begun
	living  map[*context.CancelCauseFunc]struct{} // watches that have not ended
}

type commitFunc func(context.Context, engine.Tx) (engine.Revision, error)

// shelved is a program of its own, with a store that the test can rig.
func (s *service) shelved(opts ...lockstep.Option) (*lockstep.Client, *shelf) {
	s.t.Helper()
	sh := &shelf{Engine: s.s.Engine(), living: map[*context.CancelCauseFunc]struct{}{}}
	return s.over(&rig{Engine: sh}, opts...), sh
}

func (s *shelf) Store() engine.Store { return shelfStore{s.Engine.Store(), s} }

// set changes a hook while calls may be under way.
func (s *shelf) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// interrupt ends every watch with an error, as a cut connection does.
func (s *shelf) interrupt(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cancel := range s.living {
		(*cancel)(err)
	}
}

// counts are the watches that were begun, and those that have not ended.
func (s *shelf) counts() (begun, living int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches, len(s.living)
}

type shelfStore struct {
	engine.Store

	s *shelf
}

func (st shelfStore) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	next := func(ctx context.Context) (engine.Entry, error) { return st.Store.Get(ctx, m, key) }
	st.s.mu.Lock()
	hook := st.s.get
	st.s.mu.Unlock()
	if hook == nil {
		return next(ctx)
	}
	return hook(ctx, next)
}

func (st shelfStore) List(ctx context.Context, m string) (engine.Event, error) {
	next := func(ctx context.Context) (engine.Event, error) { return st.Store.List(ctx, m) }
	st.s.mu.Lock()
	hook := st.s.list
	st.s.mu.Unlock()
	if hook == nil {
		return next(ctx)
	}
	return hook(ctx, next)
}

func (st shelfStore) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	next := func(ctx context.Context, tx engine.Tx) (engine.Revision, error) { return st.Store.Commit(ctx, m, tx) }
	st.s.mu.Lock()
	hook := st.s.commit
	st.s.mu.Unlock()
	if hook == nil {
		return next(ctx, tx)
	}
	return hook(ctx, tx, next)
}

func (st shelfStore) Watch(ctx context.Context, m string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		inner, cancel := context.WithCancelCause(ctx)
		st.s.mu.Lock()
		st.s.watches++
		st.s.living[&cancel] = struct{}{}
		events := st.s.watch
		st.s.mu.Unlock()
		defer st.s.set(func() { delete(st.s.living, &cancel) })
		defer cancel(nil)
		if events == nil {
			events = func(ctx context.Context, after engine.Revision) iter.Seq2[engine.Event, error] {
				return st.Store.Watch(ctx, m, after)
			}
		}
		for ev, err := range events(inner, after) {
			if err != nil && inner.Err() != nil {
				err = context.Cause(inner)
			}
			if !yield(ev, err) || err != nil {
				return
			}
		}
	}
}
