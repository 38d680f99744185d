package lockstep_test

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func viewOf(t *testing.T, m *lockstep.Map) *lockstep.View {
	t.Helper()
	v, err := m.View(t.Context())
	wantNo(t, err)
	t.Cleanup(v.Close)
	return v
}

// viewed is a view of what the test says, which begins with a whole map.
func viewed(t *testing.T, r engine.Revision, entries ...engine.Entry) (*lockstep.View, *script) {
	t.Helper()
	m, s := scripted(t)
	go s.full(r, entries...)
	return viewOf(t, m), s
}

// wantView fails unless the view shows exactly this.
func wantView(t *testing.T, v *lockstep.View, revision lockstep.Revision, entries map[string]string) {
	t.Helper()
	got := v.Snapshot()
	if got.Revision != revision || len(got.Entries) != len(entries) || v.Len() != len(entries) {
		t.Fatalf("it shows %d entries %v at %d; want %v at %d", v.Len(), got.Entries, got.Revision, entries, revision)
	}
	for _, e := range got.Entries {
		if one, ok := v.Get(e.Key); !ok || string(one.Value) != entries[e.Key] || string(e.Value) != entries[e.Key] {
			t.Errorf("%q is %q, and %q among all; want %q", e.Key, one.Value, e.Value, entries[e.Key])
		}
	}
}

func TestAViewFollowsItsMap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		m := s.client().Map("m")
		put(t, m, "a", "1")
		first := put(t, m, "b", "2")
		v := viewOf(t, s.client().Map("m"))
		wantView(t, v, first, map[string]string{"a": "1", "b": "2"})
		changed := v.Changed()
		last, err := m.Commit(t.Context(), lockstep.Tx{Put: []lockstep.Entry{{Key: "a", Deleted: true}, {Key: "c", Value: []byte("3")}}})
		wantNo(t, err)
		wantNo(t, v.WaitFor(t.Context(), last))
		<-changed
		wantView(t, v, last, map[string]string{"b": "2", "c": "3"})
		if _, ok := v.Get("a"); ok || !v.Synced() {
			t.Errorf("it has a deleted entry (%v), or does not follow", ok)
		}
	})
}

func TestViewsAndWatchersShareOneWatchAtTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		m := c.Map("m")
		views := make([]*lockstep.View, 100)
		for i := range views {
			views[i] = viewOf(t, m)
			watch(t, m.Watch(t.Context()))
		}
		synctest.Wait()
		if begun, living := sh.counts(); begun != 1 || living != 1 {
			t.Errorf("%d watches were begun, %d live; want one", begun, living)
		}
		r := put(t, m, "a", "1")
		for _, v := range views {
			wantNo(t, v.WaitFor(t.Context(), r))
			wantView(t, v, r, map[string]string{"a": "1"})
		}
	})
}

func TestTheLastViewEndsTheWatchAtTheEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		a, b := viewOf(t, c.Map("m")), viewOf(t, c.Map("m"))
		a.Close()
		a.Close()
		wantErr(t, a.Err(), lockstep.ErrClosed)
		wantNo(t, b.Err())
		b.Close()
		synctest.Wait()
		if _, living := sh.counts(); living != 0 {
			t.Errorf("%d watches live", living)
		}
		wantErr(t, b.WaitFor(t.Context(), 99), lockstep.ErrClosed)
		wantErr(t, b.Sync(t.Context()), lockstep.ErrClosed)
		_, err := b.Fresh(t.Context(), "a")
		wantErr(t, err, lockstep.ErrClosed)
	})
}

// Readers run beside a writer that keeps two keys alike, and one key rising.
func TestAReadIsOneStateOfTheMapAndNeverAnOlderOne(t *testing.T) {
	c := newService(t).client()
	m := c.Map("m")
	put(t, m, "a", "0")
	put(t, m, "b", "0")
	v := viewOf(t, m)
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			last := 0
			for ctx.Err() == nil {
				values := map[string]string{}
				for e := range v.All() {
					values[e.Key] = string(e.Value)
				}
				n, err := strconv.Atoi(values["a"])
				if err != nil || values["a"] != values["b"] && n > 0 || n < last {
					t.Errorf("a reader saw %v after %d", values, last)
					return
				}
				last = n
			}
		})
	}
	var last lockstep.Revision
	for i := range 2000 {
		value := []byte(strconv.Itoa(i + 1))
		r, err := m.Commit(t.Context(), lockstep.Tx{Put: []lockstep.Entry{{Key: "a", Value: value}, {Key: "b", Value: value}}})
		wantNo(t, err)
		last = r
	}
	wantNo(t, v.WaitFor(t.Context(), last))
	stop()
	readers.Wait()
	wantView(t, v, last, map[string]string{"a": "2000", "b": "2000"})
}

func TestAReadOfAViewAllocatesNothing(t *testing.T) {
	m := newService(t).client().Map("m")
	for i := range 1000 {
		put(t, m, fmt.Sprint("key", i), "value")
	}
	v := viewOf(t, m)
	keys := []string{"key1", "key999", "none"}
	if n := testing.AllocsPerRun(1000, func() {
		for _, key := range keys {
			v.Get(key)
		}
	}); n != 0 {
		t.Errorf("%v allocations for three reads", n)
	}
}

// However many changes come while a reader is busy, it has one thing to look at.
func TestASlowReaderOfAViewGetsMergedChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newService(t).client().Map("m")
		v := viewOf(t, m)
		changed := v.Changed()
		var last lockstep.Revision
		for i := range 5000 {
			last = put(t, m, "a", strconv.Itoa(i))
		}
		synctest.Wait()
		<-changed
		changed = v.Changed()
		wantView(t, v, last, map[string]string{"a": "4999"})
		select {
		case <-changed:
			t.Error("there is something newer than the last")
		default:
		}
	})
}

func TestAViewSaysSinceWhenItMayBeBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, s := viewed(t, 1)
		synctest.Wait()
		began := time.Now()
		if !v.Stale().IsZero() || !v.Synced() {
			t.Fatalf("stale since %v", v.Stale())
		}
		s.steps <- step{err: errNoReply}
		synctest.Wait()
		time.Sleep(time.Minute)
		if got := v.Stale(); !got.Equal(began) || v.Synced() {
			t.Errorf("stale since %v; want %v", got, began)
		}
		s.event(2, at(2, "a", "1"))
		synctest.Wait()
		if !v.Synced() {
			t.Errorf("it follows again, and says that it is stale since %v", v.Stale())
		}
		wantView(t, v, 2, map[string]string{"a": "1"})
		wantNo(t, v.Err())
	})
}

// The whole map after an interruption takes a moment to be compared: until the view
// shows it, it is as old as it was.
func TestAViewThatSaysItFollowsShowsWhatItHeard(t *testing.T) {
	v, s := viewed(t, 1, at(1, "a", "old"))
	s.steps <- step{err: errNoReply}
	for v.Synced() {
		time.Sleep(time.Millisecond)
	}
	now := []engine.Entry{at(2, "a", "new")}
	for i := range 50_000 {
		now = append(now, at(2, fmt.Sprint("key", i), "value"))
	}
	go s.full(2, now...)
	for !v.Synced() {
	}
	if e, _ := v.Get("a"); string(e.Value) != "new" {
		t.Errorf("it follows, and shows %q", e.Value)
	}
}

// A process that was stopped looks at the clock before any timer has fired.
func TestAViewThatHeardNothingForTooLongIsStaleAtTheFirstLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		var stopped atomic.Int64
		lockstep.SetClock(c, func() time.Time { return time.Now().Add(time.Duration(stopped.Load())) })
		v := viewOf(t, c.Map("m"))
		synctest.Wait()
		stopped.Store(int64(time.Minute))
		if v.Synced() {
			t.Error("it says that it follows, and has heard nothing for a minute")
		}
		time.Sleep(engine.Stale)
		if !v.Synced() {
			t.Errorf("it follows, and says that it is stale since %v", v.Stale())
		}
	})
}

func TestAViewWaitsToBeFilledAsLongAsItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := scripted(t)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := m.View(ctx)
		wantErr(t, err, context.DeadlineExceeded)
		synctest.Wait()
		if _, living := s.sh.counts(); living != 0 {
			t.Errorf("%d watches are left", living)
		}
	})
}

func TestAViewEndsWithWhatNoRepetitionChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, s := viewed(t, 1, at(1, "a", "1"))
		s.steps <- step{err: engine.ErrMismatch}
		synctest.Wait()
		wantErr(t, v.Err(), lockstep.ErrMismatch)
		wantErr(t, v.WaitFor(t.Context(), 2), lockstep.ErrMismatch)
		if v.Synced() {
			t.Error("it says that it follows")
		}
		wantView(t, v, 1, map[string]string{"a": "1"})
	})
}

func TestAViewEndsWithItsClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		put(t, c.Map("m"), "a", "1")
		v := viewOf(t, c.Map("m"))
		wantNo(t, c.Close())
		wantErr(t, v.Err(), lockstep.ErrClosed)
		wantErr(t, v.WaitFor(t.Context(), 99), lockstep.ErrClosed)
		if e, ok := v.Get("a"); !ok || string(e.Value) != "1" {
			t.Errorf("a is %v, %v", e, ok)
		}
	})
}

// A commit that changed nothing may have a revision that no event has.
func TestWaitForEndsAlsoWhereNoEventHasTheRevision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		m := c.Map("m")
		r := put(t, m, "a", "1")
		v := viewOf(t, m)
		sh.set(func() {
			sh.list = func(ctx context.Context, next func(context.Context) (engine.Event, error)) (engine.Event, error) {
				ev, err := next(ctx)
				ev.Revision += 5
				return ev, err
			}
		})
		wantNo(t, v.WaitFor(t.Context(), r+5))
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		wantErr(t, v.WaitFor(ctx, r+6), context.DeadlineExceeded)
	})
}

// late is a view whose watch is behind: what is written arrives when arrive is
// called, all of it.
func late(t *testing.T) (v *lockstep.View, m *lockstep.Map, arrive func()) {
	t.Helper()
	s := newService(t)
	c, sh := s.shelved()
	m = s.client().Map("m")
	put(t, m, "kept", "1")
	put(t, m, "gone", "1")
	v = viewOf(t, c.Map("m"))
	sh.interrupt(errNoReply)
	on := make(chan struct{})
	store := sh.Engine.Store()
	sh.set(func() {
		sh.watch = func(ctx context.Context, after engine.Revision) iter.Seq2[engine.Event, error] {
			return func(yield func(engine.Event, error) bool) {
				select {
				case <-on:
					store.Watch(ctx, "m", after)(yield)
				case <-ctx.Done():
					yield(engine.Event{}, ctx.Err())
				}
			}
		}
	})
	return v, m, sync.OnceFunc(func() { close(on) })
}

func TestSyncShowsWhatWasCommittedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, m, arrive := late(t)
		put(t, m, "kept", "2")
		last := put(t, m, "new", "1")
		synced := make(chan error, 1)
		go func() { synced <- v.Sync(t.Context()) }()
		synctest.Wait()
		select {
		case <-synced:
			t.Fatal("Sync returned before the view had what was committed")
		default:
		}
		arrive()
		wantNo(t, <-synced)
		wantView(t, v, last, map[string]string{"kept": "2", "gone": "1", "new": "1"})
	})
}

func TestSyncShowsWhatWasDeletedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, m, arrive := late(t)
		del(t, m, "gone")
		synced := make(chan error, 1)
		go func() { synced <- v.Sync(t.Context()) }()
		synctest.Wait()
		if len(synced) > 0 {
			t.Fatal("Sync returned before the view had lost what was deleted")
		}
		arrive()
		wantNo(t, <-synced)
		if v.Len() != 1 {
			t.Errorf("it has %v", v.Snapshot())
		}
	})
}

func TestReadsAfterAFreshOneAreNotOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, m, arrive := late(t)
		put(t, m, "kept", "2")
		del(t, m, "gone")
		type answer struct {
			e   lockstep.Entry
			err error
		}
		kept, gone := make(chan answer, 1), make(chan answer, 1)
		ask := func(key string, to chan answer) {
			e, err := v.Fresh(t.Context(), key)
			to <- answer{e, err}
		}
		go ask("kept", kept)
		go ask("gone", gone)
		synctest.Wait()
		if len(kept) > 0 || len(gone) > 0 {
			t.Fatal("Fresh returned while the view shows what was before")
		}
		arrive()
		if a := <-kept; a.err != nil || string(a.e.Value) != "2" {
			t.Errorf("fresh: %v, %v", a.e, a.err)
		}
		wantErr(t, (<-gone).err, lockstep.ErrNotFound)
		if e, ok := v.Get("kept"); !ok || string(e.Value) != "2" {
			t.Errorf("after it: %v", e)
		}
		if e, ok := v.Get("gone"); ok {
			t.Errorf("after it: %v", e)
		}
	})
}
