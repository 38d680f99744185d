package etcdengine

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// One timer watches over all requests: each ends in its time, also those that begin when
// it has just been set, or had nothing left to do.
func TestARequestThatNobodyAnswersEndsInItsTime(t *testing.T) {
	t.Parallel()
	e := intercepted(t, start(t), func(ctx context.Context, _ string, next func(context.Context) error) error { return next(ctx) })
	e.calls.mu.Lock()
	e.timeout, e.calls.armed = 50*time.Millisecond, false // it was set for the request of opening
	e.calls.mu.Unlock()
	for range 2 {
		var all sync.WaitGroup
		for i := range 5 {
			all.Go(func() {
				time.Sleep(time.Duration(i) * 13 * time.Millisecond)
				began := time.Now()
				ctx, done := e.request(t.Context())
				defer done()
				<-ctx.Done()
				var late timeoutError
				if err := e.explain(ctx, ctx.Err()); !errors.As(err, &late) {
					t.Errorf("request %d: %v", i, err)
				}
				if took := time.Since(began); took < e.timeout {
					t.Errorf("request %d ended after %v, before its time", i, took)
				}
			})
		}
		all.Wait()
	}
	if e.calls.first != nil || e.calls.last != nil {
		t.Error("a request that has ended is still watched over")
	}
}

// A session's requests end with it, and others' do not; all end with Close, and what
// begins later is over at once.
func TestRequestsEndWithTheirSessionAndWithClose(t *testing.T) {
	t.Parallel()
	e := openOn(t, []string{start(t).Addr}, nil)
	a, b := begin(t, e, engine.SessionOptions{}), begin(t, e, engine.SessionOptions{})
	ofA, doneA := e.requestOf(a.ctx, a.Session)
	defer doneA()
	ofB, doneB := e.requestOf(b.ctx, b.Session)
	defer doneB()
	if err := a.End(a.ctx, nil); err != nil {
		t.Fatal(err)
	}
	<-ofA.Done()
	if err := ofB.Err(); err != nil {
		t.Errorf("another session's: %v", err)
	}
	again, doneAgain := e.requestOf(a.ctx, a.Session)
	defer doneAgain()
	if again.Err() == nil {
		t.Error("a request of a session that has ended goes on")
	}
	e.Close()
	<-ofB.Done()
	last, doneLast := e.request(b.ctx)
	defer doneLast()
	if err := e.explain(last, last.Err()); !errors.Is(err, engine.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}
