package locksteptest

import (
	"context"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// wire is what lies between a client and the service: an engine that passes every
// call on, later or not at all. It has the service's clock, which it shares with the
// client.
type wire struct {
	engine.Engine

	s *Service

	mu       sync.Mutex
	cut      bool
	delay    time.Duration
	changed  chan struct{} // closed with the next change; nil: nobody waits for it
	sessions []*wiredSession
}

func (w *wire) Now() time.Time { return w.s.now() }

func (w *wire) change(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	f()
	if w.changed != nil {
		close(w.changed)
		w.changed = nil
	}
}

// state is how the network is, and what is closed when that changes.
func (w *wire) state() (cut bool, delay time.Duration, changed <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.changed == nil {
		w.changed = make(chan struct{})
	}
	return w.cut, w.delay, w.changed
}

// reach is how a message fares. One that meets a cut is lost, and whoever waits for
// its answer learns that when the network is back, as from a connection that is
// reset.
func (w *wire) reach(ctx context.Context) error {
	for lost := false; ; lost = true {
		cut, _, changed := w.state()
		switch {
		case cut:
		case lost:
			return errCut
		default:
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func through[T any](ctx context.Context, w *wire, do func() (T, error)) (T, error) {
	var none T
	if _, delay, _ := w.state(); delay > 0 {
		timer := time.NewTimer(delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return none, ctx.Err()
		}
	}
	if err := w.reach(ctx); err != nil {
		return none, err
	}
	v, err := do()
	if lost := w.reach(ctx); lost != nil {
		return none, lost
	}
	return v, err
}

func shown[T any](ctx context.Context, w *wire, items iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for item, err := range items {
			if lost := w.reach(ctx); lost != nil {
				var none T
				yield(none, lost)
				return
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

func (w *wire) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	tell := o.Lost
	o.Lost = func(id engine.ClaimID, why error) {
		if cut, _, _ := w.state(); !cut {
			tell(id, why)
		}
	}
	return through(ctx, w, func() (engine.Session, error) {
		s, err := w.Engine.Begin(ctx, o)
		if err != nil {
			return nil, err
		}
		wired := &wiredSession{Session: s, w: w, tell: tell}
		w.mu.Lock()
		w.sessions = append(w.sessions, wired)
		w.mu.Unlock()
		return wired, nil
	})
}

// living are the sessions that have not ended by themselves, newest last.
func (w *wire) living() (sessions []engine.Session) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.sessions {
		sessions = append(sessions, s.Session)
	}
	return sessions
}

func (w *wire) ended(s *wiredSession) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.sessions = slices.DeleteFunc(w.sessions, func(o *wiredSession) bool { return o == s })
}

// lookAtTheClock has the client do so: a claim that it does not know of is nothing
// else to it.
func (w *wire) lookAtTheClock() {
	w.mu.Lock()
	sessions := slices.Clone(w.sessions)
	w.mu.Unlock()
	for _, s := range sessions {
		s.tell("no claim of anybody's", errClockMoved)
	}
}

func (w *wire) Line(ctx context.Context, name string) (engine.Line, error) {
	return through(ctx, w, func() (engine.Line, error) { return w.Engine.Line(ctx, name) })
}

func (w *wire) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return shown(ctx, w, w.Engine.WatchLine(ctx, name))
}

func (w *wire) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return shown(ctx, w, w.Engine.Names(ctx, prefix))
}

func (w *wire) Remove(ctx context.Context, name string, id engine.ClaimID) error {
	_, err := through(ctx, w, func() (struct{}, error) { return struct{}{}, w.Engine.Remove(ctx, name, id) })
	return err
}

func (w *wire) Store() engine.Store { return wiredStore{w.Engine.Store(), w} }

// wiredSession is a session behind the wire.
type wiredSession struct {
	engine.Session

	w    *wire
	tell func(engine.ClaimID, error)
}

func (s *wiredSession) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	return through(ctx, s.w, func() (engine.Renewal, error) { return s.Session.Renew(ctx, claims) })
}

func (s *wiredSession) End(ctx context.Context, claims []*engine.Claim) error {
	s.w.ended(s)
	_, err := through(ctx, s.w, func() (struct{}, error) { return struct{}{}, s.Session.End(ctx, claims) })
	return err
}

func (s *wiredSession) Acquire(ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
	return through(ctx, s.w, func() (engine.Grant, error) { return s.Session.Acquire(ctx, c, again) })
}

func (s *wiredSession) Release(ctx context.Context, c *engine.Claim) (bool, error) {
	return through(ctx, s.w, func() (bool, error) { return s.Session.Release(ctx, c) })
}

func (s *wiredSession) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	_, err := through(ctx, s.w, func() (struct{}, error) { return struct{}{}, s.Session.SetNote(ctx, c, note) })
	return err
}

func (s *wiredSession) Pass(ctx context.Context, c *engine.Claim, to engine.ClaimID) error {
	_, err := through(ctx, s.w, func() (struct{}, error) { return struct{}{}, s.Session.Pass(ctx, c, to) })
	return err
}

// wiredStore is the store behind the wire.
type wiredStore struct {
	engine.Store

	w *wire
}

func (s wiredStore) List(ctx context.Context, m string) (engine.Event, error) {
	return through(ctx, s.w, func() (engine.Event, error) { return s.Store.List(ctx, m) })
}

func (s wiredStore) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	return through(ctx, s.w, func() (engine.Entry, error) { return s.Store.Get(ctx, m, key) })
}

func (s wiredStore) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	return through(ctx, s.w, func() (engine.Revision, error) { return s.Store.Commit(ctx, m, tx) })
}

func (s wiredStore) Watch(ctx context.Context, m string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return shown(ctx, s.w, s.Store.Watch(ctx, m, after))
}
