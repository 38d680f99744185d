package lockstep_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// watcher is a program that watches, in a goroutine of its own.
type watcher struct {
	t       *testing.T
	mu      sync.Mutex
	changes []lockstep.Change // since they were last taken
	err     error             // that ended it
	ended   bool
	held    chan struct{} // not nil: the loop's body waits for it to be closed
}

func watch(t *testing.T, changes iter.Seq2[lockstep.Change, error]) *watcher {
	w := &watcher{t: t}
	w.run(changes)
	return w
}

// stuck is a watcher whose loop's body does not end until it is let go.
func stuck(t *testing.T, changes iter.Seq2[lockstep.Change, error]) (w *watcher, letGo func()) {
	w = &watcher{t: t, held: make(chan struct{})}
	w.run(changes)
	return w, sync.OnceFunc(func() { close(w.held) })
}

func (w *watcher) run(changes iter.Seq2[lockstep.Change, error]) {
	go func() {
		for c, err := range changes {
			w.mu.Lock()
			switch {
			case w.err != nil:
				w.t.Errorf("yielded %v, %v after %v", c, err, w.err)
			case err != nil:
				w.err = err
			default:
				w.changes = append(w.changes, c)
			}
			w.mu.Unlock()
			if w.held != nil {
				<-w.held
			}
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ended = true
	}()
}

// take is what was yielded since the last time, once everything is at rest.
func (w *watcher) take() []lockstep.Change {
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	changes := w.changes
	w.changes = nil
	return changes
}

// want fails unless exactly this was yielded since the last time.
func (w *watcher) want(changes ...string) {
	w.t.Helper()
	var got []string
	for _, c := range w.take() {
		got = append(got, show(c))
	}
	if !slices.Equal(got, changes) {
		w.t.Fatalf("yielded\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(changes, "\n  "))
	}
}

// wantEnd fails unless the watch has ended with this error.
func (w *watcher) wantEnd(err error) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended || !errors.Is(w.err, err) {
		w.t.Fatalf("ended: %v, with %v; want %v", w.ended, w.err, err)
	}
}

func show(c lockstep.Change) string {
	key := c.Key
	if key == "" {
		key = `""`
	}
	s := map[lockstep.Op]string{
		lockstep.OpNone:   "none",
		lockstep.OpPut:    fmt.Sprintf("%s=%s", key, c.Value),
		lockstep.OpDelete: "-" + key,
	}[c.Op]
	s += fmt.Sprintf("@%d", c.Revision)
	for _, mark := range []struct {
		set  bool
		name string
	}{{c.Snapshot, " snapshot"}, {c.Resync, " resync"}, {c.Synced, " synced"}} {
		if mark.set {
			s += mark.name
		}
	}
	return s
}

func del(t *testing.T, m *lockstep.Map, key string) {
	t.Helper()
	_, err := m.Delete(t.Context(), key)
	wantNo(t, err)
}

// Changes arrive in revision order after the state that they begin from (S9).
func TestWatchYieldsTheSnapshotAndThenChangesInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		m := s.client().Map("m")
		put(t, m, "b", "1")
		put(t, m, "a", "2")
		w := watch(t, s.client().Map("m").Watch(t.Context()))
		w.want("a=2@2 snapshot", "b=1@1 snapshot synced")
		put(t, m, "b", "3")
		del(t, m, "a")
		put(t, m, "a", "4")
		w.want("b=3@3 synced", "-a@4 synced", "a=4@5 synced")
	})
}

func TestEmptySnapshotIsOneChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		w := watch(t, c.Map("m").Watch(t.Context()))
		w.want("none@0 snapshot synced")
		put(t, c.Map("m"), "k", "v")
		w.want("k=v@1 synced")
	})
}

func TestSyncedMarksTheLastChangeOfACommit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		m := c.Map("m")
		put(t, m, "gone", "1")
		w := watch(t, m.Watch(t.Context()))
		w.want("gone=1@1 snapshot synced")
		_, err := m.Commit(t.Context(), lockstep.Tx{Put: []lockstep.Entry{
			{Key: "a", Value: []byte("1")}, {Key: "gone", Deleted: true}, {Key: "b", Value: []byte("2")},
		}})
		wantNo(t, err)
		w.want("a=1@2", "-gone@2", "b=2@2 synced")
	})
}

func TestAThousandWatchersShareOneWatchAtTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		m := c.Map("m")
		var all []*watcher
		for range 1000 {
			all = append(all, watch(t, m.Watch(t.Context())))
		}
		synctest.Wait()
		put(t, m, "k", "v")
		for _, w := range all {
			w.want("none@0 snapshot synced", "k=v@1 synced")
		}
		if begun, _ := sh.counts(); begun != 1 {
			t.Fatalf("the engine was asked for %d watches", begun)
		}
	})
}

func TestLateJoinerBeginsWithASnapshotAndMissesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		m := c.Map("m")
		early := watch(t, m.Watch(t.Context()))
		early.want("none@0 snapshot synced")
		put(t, m, "a", "1")
		put(t, m, "b", "2")
		del(t, m, "a")
		early.want("a=1@1 synced", "b=2@2 synced", "-a@3 synced")
		late := watch(t, m.Watch(t.Context()))
		late.want("b=2@2 snapshot synced")
		put(t, m, "a", "3")
		late.want("a=3@4 synced")
		early.want("a=3@4 synced")
		if begun, _ := sh.counts(); begun != 1 {
			t.Fatalf("the engine was asked for %d watches", begun)
		}
	})
}

// Joining at any time while somebody writes: the snapshot and what follows it
// fit together, for every watcher.
func TestJoinersWhileWritingSeeEveryRevisionOnce(t *testing.T) {
	const commits = 500
	c := newService(t).client()
	m := c.Map("m")
	var writer, joiners sync.WaitGroup
	writer.Go(func() {
		for i := range commits {
			if _, err := m.Put(t.Context(), "k"+strconv.Itoa(i%7), strconv.AppendInt(nil, int64(i), 10)); err != nil {
				t.Error(err)
			}
		}
	})
	for range 50 {
		joiners.Go(func() {
			var reached lockstep.Revision
			for change, err := range m.Watch(t.Context()) {
				switch {
				case err != nil:
					t.Error(err)
				case change.Snapshot:
					reached = max(reached, change.Revision)
				case change.Resync:
					t.Error("a resync without a gap")
				case change.Revision != reached+1:
					t.Errorf("revision %d after %d", change.Revision, reached)
				default:
					reached = change.Revision
				}
				if reached == commits {
					return
				}
			}
		})
	}
	writer.Wait()
	joiners.Wait()
}

func TestValuesOfAWatchAreTheWatchersOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		m := c.Map("m")
		put(t, m, "a", "1")
		for change, err := range m.Watch(t.Context()) {
			wantNo(t, err)
			change.Value[0] = 'X'
			other := watch(t, m.Watch(t.Context()))
			other.want("a=1@1 snapshot synced")
			break
		}
	})
}

func TestInterruptedWatchResumesWithoutLossOrRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, sh := s.shelved()
		other := s.client().Map("m")
		w := watch(t, c.Map("m").Watch(t.Context()))
		w.want("none@0 snapshot synced")
		put(t, other, "a", "1")
		w.want("a=1@1 synced")
		for range 3 {
			sh.interrupt(errNoReply)
			synctest.Wait()
			put(t, other, "b", "2")
			del(t, other, "b")
			w.want() // not yet: it was interrupted
			time.Sleep(ttl)
			got := w.take()
			if len(got) != 2 || got[0].Op != lockstep.OpPut || got[1].Op != lockstep.OpDelete || got[1].Resync {
				t.Fatalf("resumed with %v", got)
			}
		}
		if begun, living := sh.counts(); begun != 4 || living != 1 {
			t.Fatalf("%d watches were begun and %d live", begun, living)
		}
	})
}

// S8: what cannot be reached is not asked in a tight loop.
func TestInterruptedWatchPausesBetweenTries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		sh.watch = func(context.Context, engine.Revision) iter.Seq2[engine.Event, error] {
			return func(yield func(engine.Event, error) bool) { yield(engine.Event{}, errNoReply) }
		}
		w := watch(t, c.Map("m").Watch(t.Context()))
		time.Sleep(10 * ttl)
		if begun, _ := sh.counts(); begun < 90 || begun > 150 {
			t.Fatalf("%d tries in ten TTLs; want a tenth of the TTL between two", begun)
		}
		sh.set(func() { sh.watch = nil })
		time.Sleep(ttl)
		w.want("none@0 snapshot synced")
	})
}

// S9: after a gap the difference is worked out, deletions included, and said to
// be one.
func TestGapIsResyncedWithDeletions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, sh := s.shelved()
		m := s.client().Map("m")
		put(t, m, "changed", "1")
		put(t, m, "gone", "2")
		put(t, m, "same", "3")
		w := watch(t, c.Map("m").Watch(t.Context()))
		w.want("changed=1@1 snapshot", "gone=2@2 snapshot", "same=3@3 snapshot synced")

		sh.interrupt(errNoReply)
		synctest.Wait()
		put(t, m, "new", "4")
		put(t, m, "changed", "5")
		del(t, m, "gone")
		s.s.Compact("m")
		time.Sleep(ttl)
		w.want("new=4@4 resync", "changed=5@5 resync", "-gone@6 resync synced")
		put(t, m, "same", "6")
		w.want("same=6@7 synced")
	})
}

func TestResyncWithoutADifferenceIsOneChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, sh := s.shelved()
		m := s.client().Map("m")
		put(t, m, "a", "1")
		w := watch(t, c.Map("m").Watch(t.Context()))
		w.want("a=1@1 snapshot synced")
		sh.interrupt(errNoReply)
		synctest.Wait()
		put(t, m, "b", "2")
		del(t, m, "b")
		s.s.Compact("m")
		time.Sleep(ttl)
		w.want("none@3 resync synced")
	})
}

// The engine lost its data, and nobody was told: the watch ends in the state
// that there is now.
func TestEngineThatLostItsDataIsFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		m := s.client().Map("m")
		put(t, m, "a", "1")
		w := watch(t, s.client().Map("m").Watch(t.Context()))
		w.want("a=1@1 snapshot synced")
		s.s.Forget()
		w.want("-a@2 resync synced")
		put(t, m, "a", "2")
		w.want("a=2@3 synced")
	})
}

// script is a store whose watch yields what the test says.
type script struct {
	sh    *shelf
	steps chan step
	after atomic.Uint64 // of the last watch
}

type step struct {
	ev  engine.Event
	err error
}

func scripted(t *testing.T) (*lockstep.Map, *script) {
	c, sh := newService(t).shelved()
	s := &script{sh: sh, steps: make(chan step)}
	sh.watch = func(ctx context.Context, after engine.Revision) iter.Seq2[engine.Event, error] {
		return func(yield func(engine.Event, error) bool) {
			s.after.Store(uint64(after))
			for {
				select {
				case <-ctx.Done():
					yield(engine.Event{}, ctx.Err())
					return
				case st := <-s.steps:
					if !yield(st.ev, st.err) || st.err != nil {
						return
					}
				}
			}
		}
	}
	return c.Map("m"), s
}

func (s *script) full(r engine.Revision, entries ...engine.Entry) {
	s.steps <- step{ev: engine.Event{Revision: r, Full: true, Entries: entries}}
}

func (s *script) event(r engine.Revision, entries ...engine.Entry) {
	s.steps <- step{ev: engine.Event{Revision: r, Entries: entries}}
}

func at(r engine.Revision, key, value string) engine.Entry {
	return engine.Entry{Key: key, Value: []byte(value), Revision: r}
}

func gone(r engine.Revision, key string) engine.Entry {
	return engine.Entry{Key: key, Revision: r, Deleted: true}
}

// A restored backup, or a service begun anew: revisions are lower, and one may
// even be given out again for another value.
func TestLowerRevisionsAreFollowedWhereTheEngineSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := scripted(t)
		w := watch(t, m.Watch(t.Context()))
		s.full(10, at(5, "again", "x"), at(10, "gone", "y"), at(7, "older", "z"), at(3, "same", "s"))
		w.take()
		s.full(6, at(5, "again", "other"), at(4, "older", "w"), at(3, "same", "s"))
		w.want("older=w@4 resync", "again=other@5 resync", "-gone@6 resync synced")
		s.event(7, at(7, "again", "new"), gone(7, "older"))
		w.want("again=new@7", "-older@7 synced")
		s.steps <- step{err: errNoReply}
		time.Sleep(ttl)
		if after := s.after.Load(); after != 7 {
			t.Fatalf("resumed after revision %d; want 7", after)
		}
	})
}

// S9: never twice, never backwards.
func TestWhatIsNotNewerIsLeftOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := scripted(t)
		w := watch(t, m.Watch(t.Context()))
		s.full(10, at(12, "a", "12"), at(9, "b", "9")) // an engine that reads entry by entry
		w.want("a=12@12 snapshot", "b=9@9 snapshot synced")
		s.event(10, at(10, "b", "late"))
		s.event(11, at(11, "a", "old"))
		w.want()
		s.event(12, at(12, "a", "12"), at(12, "b", "12"))
		w.want("b=12@12 synced")
		s.event(12, at(12, "b", "twice"), gone(12, "a"))
		s.event(13, gone(13, "never was"))
		s.event(14)
		w.want()
		s.steps <- step{err: errNoReply}
		time.Sleep(ttl)
		if after := s.after.Load(); after != 14 {
			t.Fatalf("resumed after revision %d; want 14", after)
		}
	})
}

// An engine without a log shows the whole map after every interruption.
func TestWholeMapAtTheSameStateTellsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := scripted(t)
		w := watch(t, m.Watch(t.Context()))
		s.full(10, at(10, "a", "1"))
		w.want("a=1@10 snapshot synced")
		s.full(10, at(10, "a", "1"))
		w.want()
	})
}

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

// A watcher that does not go on while others write keeps no more than what
// differs, whatever is written; it ends in the true state and is told that it
// missed something.
func TestSlowWatcherIsMerged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		m := c.Map("m")
		put(t, m, "gone", "1")
		put(t, m, "changed", "2")
		slow, letGo := stuck(t, m.Watch(t.Context()))
		defer letGo()
		quick := watch(t, m.Watch(t.Context()))
		quick.want("changed=2@2 snapshot", "gone=1@1 snapshot synced")
		slow.want("changed=2@2 snapshot") // and does not go on

		const commits = 4000
		for i := range commits {
			if i%100 == 0 {
				synctest.Wait() // the engine keeps a thousand changes: no gap is meant here
			}
			put(t, m, "passing"+strconv.Itoa(i), "x")
			del(t, m, "passing"+strconv.Itoa(i))
			put(t, m, "changed", strconv.Itoa(i))
			if i == commits/2 {
				del(t, m, "gone")
			}
		}
		if n := len(quick.take()); n != 3*commits+1 {
			t.Fatalf("the quick one saw %d of %d changes", n, 3*commits+1)
		}

		letGo()
		pending := slow.take()
		if len(pending) > 2000 {
			t.Fatalf("%d changes were kept for the slow one", len(pending))
		}
		if show(pending[0]) != "gone=1@1 snapshot synced" {
			t.Fatalf("its snapshot went on with %s", show(pending[0]))
		}
		state, resyncs := map[string]string{"gone": "1", "changed": "2"}, 0
		var last lockstep.Revision
		for i, change := range pending {
			if i > 0 && change.Revision < last {
				t.Fatalf("revision %d after %d", change.Revision, last)
			}
			last = change.Revision
			if change.Resync {
				resyncs++
			}
			if change.Op == lockstep.OpDelete {
				if _, ok := state[change.Key]; !ok {
					t.Fatalf("%s was deleted, which it had never seen", change.Key)
				}
				delete(state, change.Key)
			} else {
				state[change.Key] = string(change.Value)
			}
		}
		if len(state) != 1 || state["changed"] != strconv.Itoa(commits-1) {
			t.Fatalf("it ends with %v", state)
		}
		// Those of gone and of changed; what came and went is not told, but for one
		// that was there when the last were merged.
		if resyncs != 2 && resyncs != 3 {
			t.Fatalf("%d changes are marked as a resync's", resyncs)
		}
	})
}

// A few large values are as much as many small ones.
func TestSlowWatcherHoldsFewBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newService(t).client().Map("m")
		slow, letGo := stuck(t, m.Watch(t.Context()))
		defer letGo()
		slow.want("none@0 snapshot synced")
		value := strings.Repeat("x", 1<<20)
		for range 50 {
			put(t, m, "k", value)
			synctest.Wait()
		}
		letGo()
		if n := len(slow.take()); n > 12 {
			t.Fatalf("%d MiB were kept for one watcher", n)
		}
	})
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
