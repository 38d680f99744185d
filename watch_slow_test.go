package lockstep_test

import (
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/lockstep-go/lockstep"
)

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
