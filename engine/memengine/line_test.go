package memengine

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

func TestHoldersAreTheLongestPrefixThatFits(t *testing.T) {
	for _, c := range []struct {
		name   string
		limit  int
		shares []int
		want   int
	}{
		{"nobody", 1, nil, 0},
		{"one of one", 1, []int{1, 1}, 1},
		{"all fit", 3, []int{1, 2}, 2},
		{"a heavy one keeps a light one waiting", 3, []int{2, 2, 1}, 1},
		{"readers together", engine.Unlimited, []int{1, 1, 1}, 3},
		{"a writer after readers waits", engine.Unlimited, []int{1, engine.Unlimited, 1}, 1},
		{"readers after a writer wait", engine.Unlimited, []int{engine.Unlimited, 1, 1}, 1},
		{"shares that overflow when added", engine.Unlimited, []int{engine.Unlimited, engine.Unlimited, 2}, 1},
	} {
		var claims []*claim
		for _, shares := range c.shares {
			claims = append(claims, &claim{shares: shares})
		}
		if got := fitting(c.limit, claims); got != c.want {
			t.Errorf("%s: %v of %d: %d hold, want %d", c.name, c.shares, c.limit, got, c.want)
		}
	}
}

func TestAWaiterCostsNothingForAnHour(t *testing.T) {
	inBubble(t, func(w world) {
		s := w.session(2 * time.Hour)
		w.acquire(s, mutex("n"))
		for range 100 {
			w.wait(s, mutex("n"))
		}
		before := w.service.Transactions()
		time.Sleep(time.Hour)
		if n := w.service.Transactions() - before; n != 0 {
			t.Errorf("100 waiters cost %d transactions in an hour, want 0 (S8)", n)
		}
		w.endAll()
	})
}

func TestAReleaseWakesOnlyTheNextOfAHundred(t *testing.T) {
	inBubble(t, func(w world) {
		s, c := w.session(time.Hour), mutex("n")
		w.acquire(s, c)
		for range 100 {
			w.wait(s, mutex("n"))
		}
		before := w.service.Transactions()
		if _, err := s.Release(w.Context(), c); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if n := w.service.Transactions() - before; n != 2 {
			t.Errorf("a release cost %d transactions, want its own and its heir's look (S8)", n)
		}
		w.endAll()
	})
}

func TestUnusedNamesLeaveNothingBehind(t *testing.T) {
	inBubble(t, func(w world) {
		s, c := w.session(time.Hour), mutex("n")
		w.acquire(s, c)
		for l, err := range s.engine.WatchLine(w.Context(), "n") {
			if err != nil {
				t.Fatal(err)
			}
			if len(l.Holders) == 0 {
				break
			}
			if _, err := s.Release(w.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		w.endAll()
		if n := len(w.service.lines) + len(w.service.watchers) + len(w.service.sessions) + len(s.claims); n != 0 {
			t.Errorf("%d lines, watchers, sessions or claims are left (S12)", n)
		}
	})
}

func TestAuditRemovesAClaimMissingFromTwoRenewals(t *testing.T) {
	inBubble(t, func(w world) {
		s, ghost, kept := w.session(12*time.Second), mutex("ghost"), mutex("kept")
		w.acquire(s, ghost)
		w.acquire(s, kept)
		renew := func() {
			t.Helper()
			if r, err := s.Renew(w.Context(), []*engine.Claim{kept}); err != nil || len(r.Lost) > 0 {
				t.Fatalf("Renew: %+v, %v", r, err)
			}
		}
		renew()
		renew() // the same list sent twice is one list
		if l := w.line("ghost"); len(l.Holders) != 1 {
			t.Fatal("one list was enough to lose a claim")
		}
		time.Sleep(4 * time.Second)
		renew()
		if l := w.line("ghost"); len(l.Holders) != 0 {
			t.Fatal("a claim that two lists left out is still held")
		}
		if l := w.line("kept"); len(l.Holders) != 1 {
			t.Fatal("a claim that was listed is gone")
		}
	})
}

func TestLostIsCalledOnceWithNothingLocked(t *testing.T) {
	inBubble(t, func(w world) {
		e := w.service.Engine()
		type loss struct {
			id  engine.ClaimID
			why error
		}
		var losses []loss
		s, err := e.Begin(w.Context(), engine.SessionOptions{TTL: time.Second, Lost: func(id engine.ClaimID, why error) {
			losses = append(losses, loss{id, why})
			w.line("n") // would hang if the service were locked
		}})
		if err != nil {
			t.Fatal(err)
		}
		c := mutex("n")
		w.acquire(s.(*Session), c)
		if err := e.Remove(w.Context(), "n", c.ID); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Second)
		s.End(w.Context(), nil)
		if len(losses) != 2 || losses[0].id != c.ID || !errors.Is(losses[0].why, engine.ErrNotFound) ||
			losses[1].id != "" || !errors.Is(losses[1].why, engine.ErrSessionEnded) {
			t.Errorf("losses %+v, want the removed claim, then all", losses)
		}
	})
}

func TestAWatcherOfALineThatIsTooSlowIsToldSo(t *testing.T) {
	inBubble(t, func(w world) {
		s, c := w.session(time.Hour), mutex("n")
		w.acquire(s, c)
		seen := 0
		var last error
		for _, err := range s.engine.WatchLine(w.Context(), "n") {
			if last = err; err != nil {
				break
			}
			if seen++; seen > 1 {
				continue
			}
			for range maxLinesBehind + 1 {
				if err := s.SetNote(w.Context(), c, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		if !errors.Is(last, errTooSlow) || seen != 1+maxLinesBehind {
			t.Errorf("saw %d lines and then %v, want %d and errTooSlow", seen, last, 1+maxLinesBehind)
		}
	})
}

// endAll ends every session, so that what waits ends before the bubble does.
func (w world) endAll() {
	w.service.mu.Lock()
	var all []*Session
	for s := range w.service.sessions {
		all = append(all, s)
	}
	w.service.mu.Unlock()
	for _, s := range all {
		s.End(w.Context(), nil)
	}
	synctest.Wait()
}
