package lockstep_test

import (
	"context"
	"iter"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

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

// How long a session may live does not tell how soon its client sees a change.
func TestInterruptedWatchResumesSoonWhateverTheTTL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved(lockstep.WithTTL(time.Hour))
		sh.watch = func(context.Context, engine.Revision) iter.Seq2[engine.Event, error] {
			return func(yield func(engine.Event, error) bool) { yield(engine.Event{}, errNoReply) }
		}
		w := watch(t, c.Map("m").Watch(t.Context()))
		time.Sleep(time.Hour)
		sh.set(func() { sh.watch = nil })
		time.Sleep(engine.Stale / 10)
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

// A connection that died without a word: the engine shows nothing any more, and
// no error either.
func TestSilentWatchIsBegunAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, sh := s.shelved()
		sh.watch = func(ctx context.Context, _ engine.Revision) iter.Seq2[engine.Event, error] {
			return func(yield func(engine.Event, error) bool) {
				if yield(engine.Event{Full: true}, nil) {
					<-ctx.Done()
					yield(engine.Event{}, ctx.Err())
				}
			}
		}
		w := watch(t, c.Map("m").Watch(t.Context()))
		w.want("none@0 snapshot synced")
		sh.set(func() { sh.watch = nil })
		put(t, s.client().Map("m"), "a", "1")
		time.Sleep(engine.Stale + ttl/10)
		if got := w.take(); len(got) != 1 || got[0].Key != "a" {
			t.Fatalf("after the silence it yielded %v", got)
		}
	})
}

func TestQuietWatchIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		w := watch(t, c.Map("m").Watch(t.Context()))
		w.want("none@0 snapshot synced")
		time.Sleep(100 * engine.Stale)
		w.want()
		if begun, _ := sh.counts(); begun != 1 {
			t.Fatalf("%d watches were begun; the engine says that nothing changed", begun)
		}
	})
}
