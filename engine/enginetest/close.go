package enginetest

import (
	"context"
	"errors"

	"github.com/lockstep-go/lockstep/engine"
)

var closeChecks = []check{
	{rule: "Close twice is no error", run: closeTwice},
	{rule: "every call after Close says ErrClosed", run: closedRefuses},
	{rule: "Close of one handle leaves others alone", run: closeIsOwn},
	{rule: "Close ends what waits in WatchLine", run: closeEndsWatchLine},
	{rule: "Close ends what waits in Watch", needs: needStore, run: closeEndsWatch},
}

func closeTwice(t TB, s *suite) {
	e := s.open(t)
	for range 3 {
		if err := e.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	}
}

func closedRefuses(t TB, s *suite) {
	e := s.open(t)
	ctx := guarded(t)
	name := s.name(t, e)
	if err := e.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	_, err := e.Begin(ctx, engine.SessionOptions{TTL: longTTL})
	is(t, "Begin", err, engine.ErrClosed)
	_, err = e.Line(ctx, name)
	is(t, "Line", err, engine.ErrClosed)
	is(t, "Remove", e.Remove(ctx, name, newID()), engine.ErrClosed)
	for _, err = range e.WatchLine(ctx, name) {
	}
	is(t, "WatchLine", err, engine.ErrClosed)
	for _, err = range e.Names(ctx, name) {
	}
	is(t, "Names", err, engine.ErrClosed)
	if !s.info.Store {
		return
	}
	_, err = e.Store().Get(ctx, name, "k")
	is(t, "Get", err, engine.ErrClosed)
	_, err = e.Store().List(ctx, name)
	is(t, "List", err, engine.ErrClosed)
	_, err = e.Store().Commit(ctx, name, engine.Tx{Put: []engine.Entry{put("k", "v")}})
	is(t, "Commit", err, engine.ErrClosed)
	for _, err = range e.Store().Watch(ctx, name, 0) {
	}
	is(t, "Watch", err, engine.ErrClosed)
}

func closeIsOwn(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	held := mutex(a.name())
	a.acquire(held)
	waiter := b.enqueue(mutex(held.Name))
	other := s.client(t)
	if err := other.session.End(other.ctx, nil); err != nil {
		t.Fatalf("End: %v", err)
	}
	if err := other.engine.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	a.release(held)
	waiter.granted()
}

// endsByClose runs a call that waits, closes its handle when it has begun, and
// wants the call to end with ErrClosed.
func endsByClose(t TB, s *suite, what string, wait func(ctx context.Context, e engine.Engine, name string, begun func()) error) {
	t.Helper()
	e := s.open(t)
	ctx, name, began := guarded(t), s.name(t, e), make(chan struct{})
	ended := make(chan error, 1)
	go func() { ended <- wait(ctx, e, name, func() { close(began) }) }()
	<-began
	if err := e.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if err := <-ended; !errors.Is(err, engine.ErrClosed) {
		t.Errorf("%s ended with %v after Close, want ErrClosed", what, err)
	}
}

func closeEndsWatchLine(t TB, s *suite) {
	endsByClose(t, s, "WatchLine", func(ctx context.Context, e engine.Engine, name string, begun func()) (last error) {
		for _, err := range e.WatchLine(ctx, name) {
			if last = err; err == nil {
				begun()
			}
		}
		return last
	})
}

func closeEndsWatch(t TB, s *suite) {
	endsByClose(t, s, "Watch", func(ctx context.Context, e engine.Engine, name string, begun func()) (last error) {
		for ev, err := range e.Store().Watch(ctx, name, 0) {
			if last = err; ev.Full {
				begun()
			}
		}
		return last
	})
}
