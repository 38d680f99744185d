package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// A writer makes changes as fast as it can, a thousand a second where the machine
// lets it; the readers' connections are cut once a second, the server trims its log
// all the time and is killed and started again now and then. Deletes are among the
// changes. A watch and a view never go back, and end in the truth.
//
// The server writes every command to disk before it answers, or a kill would have
// it forget what it had shown.
func TestSoakWatchAndViewFollowASteadyWriter(t *testing.T) {
	const keys = 200
	changes, restarts := tries(4000, 300_000), tries(1, 20)
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	p := faultnet.New(t, s.Addr, faultnet.RESP)
	writer, reader := open(t, s.Addr, lockstep.DefaultTTL), open(t, p.Addr, lockstep.DefaultTTL)
	ctx, stop := context.WithCancel(guarded(t, hang+time.Duration(changes)*20*time.Millisecond))
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()

	v, err := reader.Map("m").View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	var w followed
	all.Go(func() { w.watch(ctx, t, reader.Map("m")) })
	all.Go(func() { followView(ctx, t, v) })
	all.Go(func() { cutEvery(ctx, p, time.Second) })

	began, trimmed := time.Now(), int64(0)
	m := writer.Map("m")
	for i := range changes {
		key := strconv.Itoa(i % keys)
		if i%7 == 3 {
			_, err = m.Delete(ctx, key)
		} else {
			_, err = m.Put(ctx, key, []byte(strconv.Itoa(i)))
		}
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case i%(changes/restarts) == changes/restarts/2:
			s.Kill()
			s.Restart()
		case i%500 == 230: // whoever comes back after the trimming cannot be shown all
			p.Refuse()
			p.Cut()
		case i%500 == 250:
			trimmed += trim(t, s)
			p.Heal()
		}
	}
	rate := float64(changes) / time.Since(began).Seconds()
	last, err := m.Put(ctx, "end", nil)
	if err != nil {
		t.Fatal(err)
	}
	truth, err := m.List(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := v.WaitFor(ctx, last); err != nil {
		t.Fatal(err)
	}
	if got := v.Snapshot().Entries; !slices.EqualFunc(got, truth.Entries, alike) {
		t.Errorf("the view ends with %d entries, the map has %d", len(got), len(truth.Entries))
	}
	if err := w.wait(ctx, truth.Entries); err != nil {
		t.Error(err)
	}
	if trimmed == 0 || w.resyncs == 0 {
		t.Errorf("%d changes were trimmed and %d shown after gaps: the trial shows little", trimmed, w.resyncs)
	}
	t.Logf("%d changes, %.0f a second, %d restarts: %d shown to the watch, %d of them after gaps", changes, rate, restarts, w.shown, w.resyncs)
}

// trim has the server forget how the map became what it is.
func trim(t *testing.T, s *redistest.Server) int64 {
	t.Helper()
	n, err := s.Do("XTRIM", "{m}:lockstep:log", "MAXLEN", "0")
	if err != nil {
		t.Error(err)
	}
	gone, _ := n.(int64)
	return gone
}

func alike(a, b lockstep.Entry) bool {
	return a.Key == b.Key && a.Revision == b.Revision && bytes.Equal(a.Value, b.Value)
}

// followView reads all the time.
func followView(ctx context.Context, t *testing.T, v *lockstep.View) {
	seen := map[string]lockstep.Revision{}
	for {
		changed := v.Changed()
		for e := range v.All() {
			if e.Revision < seen[e.Key] {
				t.Errorf("in a view, key %s went from revision %d to %d", e.Key, seen[e.Key], e.Revision)
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

// followed is the map put together from one watch.
type followed struct {
	mu             sync.Mutex
	last           map[string]lockstep.Change
	shown, resyncs int
}

func (w *followed) watch(ctx context.Context, t *testing.T, m *lockstep.Map) {
	w.mu.Lock()
	w.last = map[string]lockstep.Change{}
	w.mu.Unlock()
	for change, err := range m.Watch(ctx) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			return
		}
		w.mu.Lock()
		before := w.last[change.Key]
		if change.Op != lockstep.OpNone && change.Revision <= before.Revision {
			t.Errorf("in a watch, key %s went from revision %d to %d (S9)", change.Key, before.Revision, change.Revision)
		}
		if w.shown++; change.Resync {
			w.resyncs++
		}
		if change.Op != lockstep.OpNone {
			w.last[change.Key] = change
		}
		w.mu.Unlock()
	}
}

// wait is until the watch has shown everything.
func (w *followed) wait(ctx context.Context, truth []lockstep.Entry) error {
	for {
		w.mu.Lock()
		there := 0
		for _, change := range w.last {
			if change.Op == lockstep.OpPut {
				there++
			}
		}
		same := there == len(truth)
		for _, e := range truth {
			same = same && alike(e, lockstep.Entry{Key: e.Key, Revision: w.last[e.Key].Revision, Value: w.last[e.Key].Value})
		}
		w.mu.Unlock()
		switch {
		case same:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("the watch ends with %d entries, the map has %d", there, len(truth))
		}
		time.Sleep(time.Millisecond) // between two looks
	}
}
