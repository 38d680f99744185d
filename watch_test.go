package lockstep_test

import (
	"strconv"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/lockstep-go/lockstep"
)

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
