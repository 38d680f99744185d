package lockstep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
)

// view is a map put together from the changes of one watch, which it checks.
type view struct {
	values    map[string]string
	revisions map[string]lockstep.Revision
	synced    bool
	started   bool
	merged    int // resyncs
}

func (v *view) see(c lockstep.Change) error {
	switch {
	case c.Snapshot && v.started:
		return fmt.Errorf("a second snapshot: %s", show(c))
	case !c.Snapshot:
		v.started = true
	}
	v.synced = c.Synced
	if c.Resync && c.Synced {
		v.merged++
	}
	switch c.Op {
	case lockstep.OpNone:
		return nil
	case lockstep.OpDelete:
		if _, ok := v.values[c.Key]; !ok {
			return fmt.Errorf("%s: it was not there", show(c))
		}
		delete(v.values, c.Key)
	case lockstep.OpPut:
		v.values[c.Key] = string(c.Value)
	}
	if c.Revision <= v.revisions[c.Key] {
		return fmt.Errorf("%s after revision %d", show(c), v.revisions[c.Key])
	}
	v.revisions[c.Key] = c.Revision
	return nil
}

// S9, whatever happens: watchers of every pace that join at any time, a writer,
// cut connections, trimmed logs and an engine that loses its data. No watcher
// sees a key go backwards, a change twice, or the end of what it never saw; each
// ends in the state that there is.
func TestEveryWatcherEndsInTheTrueState(t *testing.T) {
	for seed := range uint64(4) {
		synctest.Test(t, func(t *testing.T) {
			s := newService(t)
			c, sh := s.shelved()
			random := rand.New(rand.NewPCG(seed, 0))
			ctx, stop := context.WithCancel(t.Context())
			var watchers sync.WaitGroup
			var views []*view
			join := func() {
				v := &view{values: map[string]string{}, revisions: map[string]lockstep.Revision{}}
				views = append(views, v)
				pace := time.Duration(random.IntN(40)) * time.Millisecond
				watchers.Go(func() {
					for change, err := range c.Map("m").Watch(ctx) {
						switch {
						case errors.Is(err, context.Canceled):
							return
						case err == nil:
							err = v.see(change)
						}
						if err != nil {
							t.Errorf("seed %d: %v", seed, err)
							return
						}
						time.Sleep(pace)
					}
				})
			}
			m := s.client().Map("m")
			follower := viewOf(t, c.Map("m"))
			for i := range 6000 {
				switch random.IntN(1000) {
				case 0:
					sh.interrupt(errNoReply)
				case 1:
					sh.interrupt(errNoReply)
					s.s.Compact("m")
				case 2:
					if i%5 == 0 {
						s.s.Forget()
					}
				case 3, 4, 5, 6:
					join()
				}
				if random.IntN(4) == 0 {
					time.Sleep(time.Duration(random.IntN(4)) * time.Millisecond)
				}
				key := "k" + strconv.Itoa(random.IntN(20))
				if random.IntN(3) == 0 {
					del(t, m, key)
				} else {
					put(t, m, key, strconv.Itoa(i))
				}
			}
			time.Sleep(10 * time.Minute) // the slowest is done
			synctest.Wait()

			all, err := m.List(t.Context())
			wantNo(t, err)
			want := map[string]string{}
			for _, e := range all.Entries {
				want[e.Key] = string(e.Value)
			}
			if shown := follower.Snapshot(); shown.Revision != all.Revision || !slices.EqualFunc(shown.Entries, all.Entries, sameEntry) {
				t.Errorf("seed %d: a view ends with %v; the map is %v", seed, shown, all)
			}
			merged := 0
			for i, v := range views {
				merged += v.merged
				if !v.synced || !maps.Equal(v.values, want) {
					t.Errorf("seed %d: watcher %d ends, synced: %v, with %v; the map is %v", seed, i, v.synced, v.values, want)
				}
			}
			if len(views) < 10 || merged == 0 {
				t.Errorf("seed %d: %d watchers and %d resyncs show little", seed, len(views), merged)
			}
			stop()
			watchers.Wait()
		})
	}
}

func sameEntry(a, b lockstep.Entry) bool {
	return a.Key == b.Key && a.Revision == b.Revision && bytes.Equal(a.Value, b.Value)
}
