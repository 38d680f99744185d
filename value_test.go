package lockstep_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
)

func TestValueIsTheEntryWithTheEmptyKey(t *testing.T) {
	s := newService(t)
	v := s.client().Value("/my/path")
	_, err := v.Get(t.Context())
	wantErr(t, err, lockstep.ErrNotFound)
	r, err := v.Put(t.Context(), []byte("1"))
	wantNo(t, err)
	wantEntry(t, s.client().Map("/my/path"), "", "1", r)

	_, err = v.CompareAndSwap(t.Context(), 0, []byte("x"))
	wantErr(t, err, lockstep.ErrConflict)
	r, err = v.CompareAndSwap(t.Context(), r, []byte("2"))
	wantNo(t, err)
	e, err := v.Get(t.Context())
	wantNo(t, err)
	if string(e.Value) != "2" || e.Revision != r {
		t.Fatalf("%+v; want 2 at revision %d", e, r)
	}
	_, err = v.Delete(t.Context())
	wantNo(t, err)
	_, err = v.Get(t.Context())
	wantErr(t, err, lockstep.ErrNotFound)
}

func TestWatchOfAValueLeavesOtherKeysOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		m, v := c.Map("m"), c.Value("m")
		put(t, m, "other", "1")
		w := watch(t, v.Watch(t.Context()))
		w.want("none@1 snapshot synced")
		put(t, m, "other", "2")
		w.want()
		put(t, m, "", "3")
		w.want(`""=3@3 synced`)
		_, err := m.Commit(t.Context(), lockstep.Tx{Put: []lockstep.Entry{{Key: "", Deleted: true}, {Key: "other", Deleted: true}}})
		wantNo(t, err)
		w.want(`-""@4 synced`)
	})
}

func TestWatchOfAValueTellsOfAGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, sh := s.shelved()
		put(t, c.Map("m"), "", "1")
		w := watch(t, c.Value("m").Watch(t.Context()))
		w.want(`""=1@1 snapshot synced`)
		sh.interrupt(errNoReply)
		synctest.Wait()
		put(t, c.Map("m"), "other", "2")
		s.s.Compact("m")
		time.Sleep(ttl)
		w.want("none@2 resync synced") // it cannot know that nothing was missed
	})
}
