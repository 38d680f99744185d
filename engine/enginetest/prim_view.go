package enginetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
)

var viewChecks = []check{
	{rule: "WaitFor returns with what a commit wrote, and for one that changed nothing", needs: needStore, run: viewWaitsFor},
	{rule: "after Sync and Fresh a view is nowhere behind", needs: needStore, run: viewFresh},
	{rule: "a reader who waits for changes misses none", needs: needStore, run: viewChanged},
	{rule: "with cuts and gaps under a steady writer, watch and view end in the truth", needs: needStore, run: viewOfSteadyWriter},
}

func (c *client) view(lc *lockstep.Client, m string) *lockstep.View {
	c.Helper()
	v, err := lc.Map(m).View(c.ctx)
	if err != nil {
		c.Fatalf("View: %v", c.cause(err))
	}
	c.Cleanup(v.Close)
	return v
}

func (c *client) wantShown(v *lockstep.View, key, value string) {
	c.Helper()
	if e, ok := v.Get(key); !ok || string(e.Value) != value {
		c.Errorf("the view shows %q as %q (%v), want %q", key, e.Value, ok, value)
	}
}

func viewWaitsFor(t TB, s *suite) {
	a := s.client(t)
	writer, _ := s.coreClient(t, coreTTL)
	reader, _ := s.coreClient(t, coreTTL)
	name := a.name()
	v, m := a.view(reader, name), writer.Map(name)
	must := func(r lockstep.Revision, err error) {
		t.Helper()
		if err != nil {
			t.Fatalf("a commit: %v", a.cause(err))
		}
		if err := v.WaitFor(a.ctx, r); err != nil {
			t.Fatalf("WaitFor: %v", a.cause(err))
		}
	}
	must(m.Put(a.ctx, "a", []byte("1")))
	a.wantShown(v, "a", "1")
	must(m.Put(a.ctx, "a", []byte("2")))
	a.wantShown(v, "a", "2")
	must(m.Delete(a.ctx, "a"))
	if e, ok := v.Get("a"); ok {
		t.Errorf("a deleted entry is shown: %q", e.Value)
	}
	must(m.Delete(a.ctx, "a"))
	must(m.Commit(a.ctx, lockstep.Tx{}))
}

func viewFresh(t TB, s *suite) {
	a := s.client(t)
	writer, _ := s.coreClient(t, coreTTL)
	reader, f := s.coreClient(t, coreTTL)
	name := a.name()
	m := writer.Map(name)
	put := func(key, value string) {
		if _, err := m.Put(a.ctx, key, []byte(value)); err != nil {
			t.Fatalf("Put: %v", a.cause(err))
		}
	}
	put("gone", "0")
	v := a.view(reader, name)
	f.Random(1, 0.3, DropRequest)
	for i := range 10 {
		value := strconv.Itoa(i)
		put("a", value)
		if e, err := v.Fresh(a.ctx, "a"); err != nil || string(e.Value) != value {
			t.Fatalf("Fresh: %q, %v; want %s", e.Value, a.cause(err), value)
		}
		a.wantShown(v, "a", value)
		put("b", value)
		if err := v.Sync(a.ctx); err != nil {
			t.Fatalf("Sync: %v", a.cause(err))
		}
		a.wantShown(v, "b", value)
	}
	if _, err := m.Delete(a.ctx, "gone"); err != nil {
		t.Fatalf("Delete: %v", a.cause(err))
	}
	_, err := v.Fresh(a.ctx, "gone")
	is(t, "Fresh of a deleted entry", err, lockstep.ErrNotFound)
	if e, ok := v.Get("gone"); ok {
		t.Errorf("after it the view shows %q", e.Value)
	}
}

func viewChanged(t TB, s *suite) {
	const changes = 50
	a := s.client(t)
	writer, _ := s.coreClient(t, coreTTL)
	reader, _ := s.coreClient(t, coreTTL)
	name := a.name()
	v := a.view(reader, name)
	var writing sync.WaitGroup
	defer writing.Wait() // the last event may come before the reply to what made it
	writing.Go(func() {
		for i := range changes {
			if _, err := writer.Map(name).Put(a.ctx, "a", []byte(strconv.Itoa(i))); err != nil {
				t.Errorf("Put: %v", a.cause(err))
			}
		}
	})
	for last := -1; last < changes-1; {
		changed := v.Changed()
		if e, ok := v.Get("a"); ok {
			n, err := strconv.Atoi(string(e.Value))
			if err != nil || n < last {
				t.Fatalf("%q after %d", e.Value, last)
			}
			if last = n; n == changes-1 {
				break
			}
		}
		select {
		case <-changed:
		case <-a.ctx.Done():
			t.Fatalf("waiting for change %d: %v", last+1, context.Cause(a.ctx))
		}
	}
}

// viewOfSteadyWriter has one writer go over many keys, with deletes, while the
// readers' watches are cut again and again and the engine forgets what was.
// internal/torture does the same for longer, with real connections and restarts.
func viewOfSteadyWriter(t TB, s *suite) {
	const changes, keys = 300, 40
	a := s.client(t)
	writer, wf := s.coreClient(t, coreTTL)
	wf.Random(1, 0.02, commitFaults...)
	name := a.name()
	m := writer.Map(name)

	ctx, stop := context.WithCancel(a.ctx)
	var readers sync.WaitGroup
	defer readers.Wait()
	defer stop()
	var views []*lockstep.View
	var logs []*watchLog
	for i := range 3 {
		lc, f := s.coreClient(t, coreTTL)
		f.Random(uint64(i), 0.05, DropRequest)
		v := a.view(lc, name)
		views = append(views, v)
		l := &watchLog{last: map[string]lockstep.Change{}, moved: make(chan struct{}, 1)}
		logs = append(logs, l)
		readers.Go(func() { l.follow(ctx, t, lc.Map(name)) })
		readers.Go(func() { watchView(ctx, t, v) })
	}

	var last lockstep.Revision
	for i := range changes {
		key := strconv.Itoa(i % keys)
		var err error
		if i%7 == 3 {
			last, err = m.Delete(a.ctx, key)
		} else {
			last, err = m.Put(a.ctx, key, []byte(strconv.Itoa(i)))
		}
		if err != nil {
			t.Fatalf("a commit: %v", a.cause(err))
		}
		if s.Compact != nil && i%100 == 50 {
			s.Compact(t, name)
		}
	}
	if _, err := m.Put(a.ctx, "end", nil); err != nil {
		t.Fatalf("a commit: %v", a.cause(err))
	}
	truth, err := m.List(a.ctx)
	if err != nil {
		t.Fatalf("List: %v", a.cause(err))
	}
	for i, v := range views {
		if err := v.Sync(a.ctx); err != nil {
			t.Fatalf("Sync: %v", a.cause(err))
		}
		if err := v.WaitFor(a.ctx, last); err != nil {
			t.Fatalf("WaitFor: %v", a.cause(err))
		}
		if got := v.Snapshot().Entries; !slices.EqualFunc(got, truth.Entries, sameEntry) {
			t.Errorf("a view ends with %d entries %v, want %v", len(got), got, truth.Entries)
		}
		logs[i].wantEnd(a, truth)
	}
}

func sameEntry(a, b lockstep.Entry) bool {
	return a.Key == b.Key && a.Revision == b.Revision && bytes.Equal(a.Value, b.Value)
}

// watchView reads all the time: nothing that it is shown is older than before.
func watchView(ctx context.Context, t TB, v *lockstep.View) {
	seen := map[string]lockstep.Revision{}
	var newest lockstep.Revision
	for {
		changed := v.Changed()
		now := v.Snapshot()
		if now.Revision < newest {
			t.Errorf("a view went from revision %d to %d", newest, now.Revision)
		}
		newest = now.Revision
		for _, e := range now.Entries {
			if e.Revision < seen[e.Key] {
				t.Errorf("key %s went from revision %d to %d", e.Key, seen[e.Key], e.Revision)
			}
			seen[e.Key] = e.Revision
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return
		}
	}
}

// watchLog is what one watch was shown of each key.
type watchLog struct {
	mu    sync.Mutex
	last  map[string]lockstep.Change
	moved chan struct{}
}

func (l *watchLog) follow(ctx context.Context, t TB, m *lockstep.Map) {
	for change, err := range m.Watch(ctx) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Watch: %v", err)
			}
			return
		}
		if err := l.see(change); err != nil {
			t.Errorf("%v", err)
		}
		select {
		case l.moved <- struct{}{}:
		default:
		}
	}
}

func (l *watchLog) see(change lockstep.Change) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if change.Op == lockstep.OpNone {
		return nil
	}
	before, known := l.last[change.Key]
	l.last[change.Key] = change
	switch {
	case known && change.Revision <= before.Revision:
		return fmt.Errorf("key %s went from revision %d to %d (S9)", change.Key, before.Revision, change.Revision)
	case change.Op == lockstep.OpDelete && (!known || before.Op == lockstep.OpDelete):
		return fmt.Errorf("key %s was deleted at %d, and was not there", change.Key, change.Revision)
	}
	return nil
}

// wantEnd waits for the last change, which is the put of "end".
func (l *watchLog) wantEnd(c *client, truth lockstep.Snapshot) {
	c.Helper()
	for {
		l.mu.Lock()
		_, over := l.last["end"]
		left := map[string]string{}
		for key, change := range l.last {
			if change.Op == lockstep.OpPut {
				left[key] = string(change.Value)
			}
		}
		l.mu.Unlock()
		if over {
			same := len(left) == len(truth.Entries)
			for _, e := range truth.Entries {
				same = same && left[e.Key] == string(e.Value)
			}
			if same {
				return
			}
		}
		select {
		case <-l.moved:
		case <-time.After(time.Second): // the last may have come in between
		case <-c.ctx.Done():
			c.Fatalf("a watch ends with %v, want %v: %v", left, truth.Entries, context.Cause(c.ctx))
		}
	}
}
