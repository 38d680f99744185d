package lockstep_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
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
