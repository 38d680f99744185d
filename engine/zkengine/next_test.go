package zkengine

import (
	"errors"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// twoInLine are a holder and the next, which asks nothing any more.
type twoInLine struct {
	*testing.T

	server         *zktest.Server
	holder, waiter *user
	held, mine     *engine.Claim
	failed         chan error // what the waiter's Acquire returns; nil: it is granted
}

// newTwoInLine has both on one session, or on one each.
func newTwoInLine(t *testing.T, together bool) *twoInLine {
	t.Helper()
	s := zktest.Start(t, zktest.Options{})
	url := "zk://" + s.Addr + longTimeout
	two := &twoInLine{T: t, server: s, holder: newUser(t, url), failed: make(chan error, 1)}
	two.waiter = two.holder
	if !together {
		two.waiter = newUser(t, url)
	}
	for _, u := range []*user{two.holder, two.waiter} {
		u.s.mu.Lock()
		u.s.arming = true // a holder is watched by nobody, and asks nothing for it
		u.s.mu.Unlock()
	}
	name := newName("next")
	two.held, two.mine = newClaim(name, "mutex"), newClaim(name, "mutex")
	wait(t, "the holder's grant", two.holder.begin(two.held))
	go func() {
		_, err := two.waiter.s.Acquire(t.Context(), two.mine, false)
		two.failed <- err
	}()
	two.waiter.waits(two.mine)
	return two
}

// result is what became of the waiter.
func (two *twoInLine) result() error {
	two.Helper()
	select {
	case err := <-two.failed:
		return err
	case <-time.After(guard):
		two.Fatal("the next in line is told nothing")
		return nil
	}
}

// handOver releases, and says how many requests it took until the next was granted.
func (two *twoInLine) handOver() int {
	two.Helper()
	before := two.server.Packets()
	two.holder.release(two.held)
	if err := two.result(); err != nil {
		two.Fatal(err)
	}
	asked := two.server.Packets() - before
	two.waiter.release(two.mine)
	return asked
}

func TestTheNextInLineIsGrantedWithoutARequest(t *testing.T) {
	t.Parallel()
	if asked := newTwoInLine(t, false).handOver(); asked != 1 {
		t.Errorf("%d requests, want the release alone", asked)
	}
}

// The session's end would be one transaction for both claims.
func TestTheNextInLineAsksWhereItsOwnSessionHolds(t *testing.T) {
	t.Parallel()
	if asked := newTwoInLine(t, true).handOver(); asked != 2 {
		t.Errorf("%d requests, want the release and a look", asked)
	}
}

// A session that was not proven for long may have ended (S1).
func TestTheNextInLineAsksWhereItsSessionIsNotProven(t *testing.T) {
	t.Parallel()
	two := newTwoInLine(t, false)
	two.waiter.s.mu.Lock()
	two.waiter.s.proofs.last = time.Now().Add(-two.waiter.s.ttl)
	two.waiter.s.mu.Unlock()
	if asked := two.handOver(); asked != 3 {
		t.Errorf("%d requests, want the release, a sync and a look", asked)
	}
}

// What is told over another connection than the claim's own going is in no order with
// it (S5).
func TestTheNextInLineAsksWhereTheConnectionIsAnother(t *testing.T) {
	t.Parallel()
	two := newTwoInLine(t, false)
	_, old := two.waiter.s.c.tap.now()
	old.drop()
	eventually(t, "another connection", func() bool {
		_, now := two.waiter.s.c.tap.now()
		return now != nil && now != old
	})
	if asked := two.handOver(); asked < 3 {
		t.Errorf("%d requests, want the release and a look", asked)
	}
}

func TestTheNextInLineIsNotGrantedAClaimThatIsGone(t *testing.T) {
	t.Parallel()
	two := newTwoInLine(t, false)
	if err := two.holder.e.Remove(guarded(t), two.mine.Name, two.mine.ID); err != nil {
		t.Fatal(err)
	}
	two.holder.release(two.held)
	if err := two.result(); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("Acquire: %v, want ErrNotFound", err)
	}
}

// Somebody deletes one of a holder's two nodes by hand. The other stands.
func TestTheNextInLineWaitsForAllNodesOfTheClaimAhead(t *testing.T) {
	t.Parallel()
	two := newTwoInLine(t, false)
	s := two.waiter.s
	s.mu.Lock()
	w := s.places[two.mine.ID].waiters[0]
	s.mu.Unlock()
	first := two.holder.s.place(two.held.ID).path
	second := secondOf(first, two.held)
	if err := two.holder.e.conn.delete(second); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the waiter hears that a node has gone", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.next == nil || len(w.next.standing) < 2
	})
	select {
	case err := <-two.failed:
		t.Fatalf("it was granted, or %v, while a node of the claim ahead stands", err)
	case <-time.After(100 * time.Millisecond): // in which nothing is to happen
	}
	two.holder.release(two.held)
	if err := two.result(); err != nil {
		t.Error(err)
	}
	two.waiter.release(two.mine)
}
