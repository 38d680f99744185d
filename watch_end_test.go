package lockstep_test

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func TestWatchEndsWithWhatTheEngineSaysForCertain(t *testing.T) {
	for _, tt := range []struct{ err, want error }{
		{engine.ErrInvalid, lockstep.ErrInvalid},
		{engine.ErrUnsupported, lockstep.ErrUnsupported},
		{engine.ErrMismatch, lockstep.ErrMismatch},
		{engine.ErrClosed, lockstep.ErrClosed},
		{engine.ErrUnusable, lockstep.ErrUnavailable},
	} {
		synctest.Test(t, func(t *testing.T) {
			m, s := scripted(t)
			all := []*watcher{watch(t, m.Watch(t.Context())), watch(t, m.Watch(t.Context()))}
			s.full(1, at(1, "a", "1"))
			for _, w := range all {
				w.want("a=1@1 snapshot synced")
			}
			s.steps <- step{err: fmt.Errorf("the engine's own: %w", tt.err)}
			for _, w := range all {
				w.wantEnd(tt.want)
			}
			again := watch(t, m.Watch(t.Context()))
			s.full(2, at(2, "a", "2"))
			again.want("a=2@2 snapshot synced")
		})
	}
}

func TestContextEndsOneWatcher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		m := c.Map("m")
		ctx, cancel := context.WithCancelCause(t.Context())
		w, other := watch(t, m.Watch(ctx)), watch(t, m.Watch(t.Context()))
		w.want("none@0 snapshot synced")
		cancel(errNoReply)
		w.wantEnd(context.Canceled)
		w.wantEnd(errNoReply)
		put(t, m, "k", "v")
		other.want("none@0 snapshot synced", "k=v@1 synced")
		if _, living := sh.counts(); living != 1 {
			t.Fatalf("%d watches live", living)
		}
	})
}

// The end of the context comes before what is pending, in the middle of a
// snapshot too.
func TestContextEndsAWatchAmongItsChanges(t *testing.T) {
	c := newService(t).client()
	m := c.Map("m")
	put(t, m, "a", "1")
	put(t, m, "b", "1")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	seen := 0
	var last error
	for _, err := range m.Watch(ctx) {
		cancel()
		seen++
		last = err
	}
	wantErr(t, last, context.Canceled)
	if seen != 2 {
		t.Fatalf("%d were yielded; want one change and the error", seen)
	}
}

func TestCloseEndsAllWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		waiting := watch(t, c.Map("m").Watch(t.Context()))
		slow, letGo := stuck(t, c.Map("m").Watch(t.Context()))
		other := watch(t, c.Map("n").Watch(t.Context()))
		synctest.Wait()
		put(t, c.Map("m"), "k", "v") // pending for the slow one
		synctest.Wait()
		wantNo(t, c.Close())
		if _, living := sh.counts(); living != 0 {
			t.Fatalf("%d watches live after Close", living)
		}
		waiting.wantEnd(lockstep.ErrClosed)
		other.wantEnd(lockstep.ErrClosed)
		letGo()
		slow.wantEnd(lockstep.ErrClosed)
		slow.want("none@0 snapshot synced")
	})
}

// S12: the last watcher's break ends the watch at the engine, also while a
// change is pending; the next watcher begins afresh.
func TestLastWatcherEndsTheUpstream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		m := c.Map("m")
		for i := range 3 {
			for _, err := range m.Watch(t.Context()) {
				wantNo(t, err)
				put(t, m, "k", strconv.Itoa(i))
				synctest.Wait()
				break
			}
			synctest.Wait()
			if begun, living := sh.counts(); begun != i+1 || living != 0 {
				t.Fatalf("%d watches were begun and %d live", begun, living)
			}
		}
		watch(t, m.Watch(t.Context())).want("k=2@3 snapshot synced")
	})
}

func TestPanicInAWatchersLoopLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		func() {
			defer func() { _ = recover() }()
			for _, err := range c.Map("m").Watch(t.Context()) {
				panic(err)
			}
		}()
		synctest.Wait()
		if _, living := sh.counts(); living != 0 {
			t.Fatalf("%d watches live", living)
		}
	})
}

// S12, seen from outside a bubble: all of it comes and goes, and no goroutine of
// this package's is left.
func TestNoGoroutineIsLeftByWatches(t *testing.T) {
	s := newService(t)
	c, sh := s.shelved()
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			for _, err := range c.Map("m" + strconv.Itoa(i%5)).Watch(ctx) {
				if err != nil || i%2 == 0 {
					return
				}
			}
		})
	}
	for i := range 50 {
		put(t, c.Map("m"+strconv.Itoa(i%5)), "k", "v")
	}
	sh.interrupt(errNoReply)
	cancel()
	all.Wait()
	wantNo(t, c.Close())
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	for g := range strings.SplitSeq(string(stacks), "\n\n") {
		if strings.Contains(g, "(*upstream)") || strings.Contains(g, "(*subscription)") {
			t.Errorf("left:\n%s", g)
		}
	}
}
