package zkengine

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// TestAHolderLearnsOfItsRemovalThoughItWasGrantedAtOnce: nobody renews, so it is the
// watch that tells.
func TestAHolderLearnsOfItsRemovalThoughItWasGrantedAtOnce(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	type loss struct {
		id  engine.ClaimID
		why error
	}
	told := make(chan loss, 1)
	s, err := u.e.Begin(guarded(t), engine.SessionOptions{TTL: time.Hour, Lost: func(id engine.ClaimID, why error) { told <- loss{id, why} }})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		c := newClaim(newName("removed"), "mutex")
		if _, err := s.Acquire(guarded(t), c, false); err != nil {
			t.Fatal(err)
		}
		if err := u.e.Remove(guarded(t), c.Name, c.ID); err != nil {
			t.Fatal(err)
		}
		select {
		case l := <-told:
			if l.id != c.ID || !errors.Is(l.why, engine.ErrNotFound) {
				t.Errorf("told of %v, %v", l.id, l.why)
			}
		case <-time.After(guard):
			t.Fatal("a holder is never told that it was removed")
		}
	}
	if err := s.End(guarded(t), nil); err != nil {
		t.Error(err)
	}
}

func TestARenewalKnowsOfARemovalThatNothingWasWatchedFor(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	kept, removed := newClaim(newName("kept"), "mutex"), newClaim(newName("removed"), "mutex")
	u.s.mu.Lock()
	u.s.arming = true // nobody else watches
	u.s.mu.Unlock()
	wait(t, "the grant", u.begin(kept))
	wait(t, "the grant", u.begin(removed))
	if err := u.e.Remove(guarded(t), removed.Name, removed.ID); err != nil {
		t.Fatal(err)
	}
	r, err := u.s.Renew(guarded(t), []*engine.Claim{kept, removed})
	if err != nil || !slices.Equal(r.Lost, []engine.ClaimID{removed.ID}) {
		t.Errorf("Renew: %+v, %v; want the one that was removed", r, err)
	}
	u.release(kept)
}
