package torture

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
)

// A writer makes a thousand changes a second (view_writer_test.go); in the short form as
// many as it can. The readers are cut off once a second, the service forgets all the time
// how it became what it is, and is killed and started again now and then, amid the
// writing (view_places_test.go). Deletes are among the changes. A watch and a view never
// go back, and end in the truth.
func TestSoakWatchAndViewFollowASteadyWriter(t *testing.T) {
	for name, at := range map[string]func(*testing.T) *place{
		"redis": onRedis, "etcd": onEtcd, "zookeeper": onZooKeeper, "file": onFile,
	} {
		t.Run(name, func(t *testing.T) {
			if !soak() { // each has the machine for itself, or none may reach the rate
				t.Parallel()
			}
			followSteadyWriter(t, at(t))
		})
	}
}

// end is the key of the last change.
const end = "end"

func followSteadyWriter(t *testing.T, p *place) {
	changes, restarts := tries(2000, 200_000), tries(1, 20)
	ctx, stop := context.WithCancel(guarded(t, hang+time.Duration(changes)*20*time.Millisecond))
	var all sync.WaitGroup
	defer all.Wait()
	defer stop()

	v, err := p.reader.Map("m").View(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	w := followed{complete: make(chan struct{}), last: map[string]lockstep.Change{}}
	all.Go(func() { w.watch(ctx, t, p.reader.Map("m")) })
	all.Go(func() { followView(ctx, t, v) })
	writing, written := context.WithCancel(ctx)
	all.Go(func() { every(writing, time.Second, p.cut) })

	made, forgotten := 0, int64(0)
	p.up.began = time.Now()
	err = p.write(ctx, changes, func(int) {
		made++
		if made%(changes/restarts) == changes/restarts/2 {
			p.restart()
		}
		switch made % 500 {
		case 470: // whoever comes back after the service forgot cannot be shown all
			p.leave()
		case 490: // the last time so late that no later change heals what was missed
			forgotten += p.forget()
			p.comeBack()
		}
	})
	written()
	if err != nil {
		t.Fatal(err)
	}
	perSecond := float64(changes) / p.up.now().Seconds()
	m := p.writer.Map("m")
	last, err := m.Put(ctx, end, nil)
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
	if err := w.differs(ctx, truth.Entries); err != nil {
		t.Error(err)
	}
	if err := p.shows(perSecond, forgotten, w.resyncs); err != nil {
		t.Error(err)
	}
	t.Logf("%d changes, %.0f a second while it was up, %d cuts, %d restarts, %d changes forgotten: %d shown to the watch (%.0f %%), %d after gaps",
		changes, perSecond, p.cuts.Load(), p.restarts.Load(), forgotten, w.shown, 100*float64(w.shown)/float64(changes), w.resyncs)
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
	complete       chan struct{} // closed when all is shown; the rest is read after that
	last           map[string]lockstep.Change
	shown, resyncs int
}

// watch follows until the last change is shown, and what belongs to it.
func (w *followed) watch(ctx context.Context, t *testing.T, m *lockstep.Map) {
	for change, err := range m.Watch(ctx) {
		if err != nil {
			if !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			return
		}
		before := w.last[change.Key]
		if change.Op != lockstep.OpNone && change.Revision <= before.Revision {
			t.Errorf("in a watch, key %s went from revision %d to %d (S9)", change.Key, before.Revision, change.Revision)
		}
		if change.Resync {
			w.resyncs++
		}
		if change.Op != lockstep.OpNone {
			w.shown++
			w.last[change.Key] = change
		}
		if w.last[end].Op == lockstep.OpPut && change.Synced {
			close(w.complete)
			return
		}
	}
}

// differs waits until the watch has shown the last change of all, and says what is then
// other than the truth.
func (w *followed) differs(ctx context.Context, truth []lockstep.Entry) error {
	select {
	case <-w.complete:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	there := 0
	for _, change := range w.last {
		if change.Op == lockstep.OpPut {
			there++
		}
	}
	for _, e := range truth {
		if shown := w.last[e.Key]; !alike(e, lockstep.Entry{Key: e.Key, Revision: shown.Revision, Value: shown.Value}) {
			return fmt.Errorf("the watch ends with key %s at revision %d, the map has it at %d", e.Key, shown.Revision, e.Revision)
		}
	}
	if there != len(truth) {
		return fmt.Errorf("the watch ends with %d entries, the map has %d", there, len(truth))
	}
	return nil
}
