package zkengine

import (
	"errors"
	"fmt"
	"testing"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// queue is claims in one line, each of its own user, and what became of their Acquires.
type queue struct {
	*testing.T

	users   []*user
	claims  []*engine.Claim
	results []chan error
}

// newQueue has claims of these kinds in line.
func newQueue(t *testing.T, kinds ...string) *queue {
	t.Helper()
	q := &queue{T: t}
	name := newName("queue")
	for i, kind := range kinds {
		u, c, result := newUser(t, "zk://"+server(t).Addr), newClaim(name, kind), make(chan error, 1)
		u.s.arming = true // a holder is watched by nobody, and asks nothing for it
		q.users, q.claims, q.results = append(q.users, u), append(q.claims, c), append(q.results, result)
		go func() {
			_, err := u.s.Acquire(t.Context(), c, false)
			result <- err
		}()
		eventually(t, "a claim is in line", func() bool { return len(result) > 0 || q.waiter(i) != nil && q.asleep(i) })
	}
	return q
}

// waiter is the Acquire of a claim that waits; nil: it does not yet, or not any more.
func (q *queue) waiter(i int) *waiter {
	s := q.users[i].s
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.places[q.claims[i].ID]; p != nil && len(p.waiters) > 0 {
		return p.waiters[0]
	}
	return nil
}

// asleep says whether the claim's own node is watched, which it is before it waits.
func (q *queue) asleep(i int) bool {
	p := q.users[i].s.place(q.claims[i].ID)
	return p != nil && q.users[i].s.armedOver(p) != 0
}

// granted waits until a claim is.
func (q *queue) granted(i int) {
	q.Helper()
	select {
	case err := <-q.results[i]:
		if err != nil {
			q.Errorf("claim %d: %v", i, err)
		}
	case <-guarded(q.T).Done():
		q.Fatalf("claim %d is not granted", i)
	}
}

// passesOn waits until the third claim is to be let in by the second, and asks nobody then.
func (q *queue) passesOn() {
	q.Helper()
	q.waitsFor(1, func(w *waiter, path string) bool { return w.next != nil && w.next.standing[path] })
}

// waitsFor waits until so it is of the Acquire of the third claim and the node of claim j.
func (q *queue) waitsFor(j int, so func(w *waiter, path string) bool) {
	q.Helper()
	path := q.users[j].s.place(q.claims[j].ID).path
	eventually(q, fmt.Sprintf("claim 2 waits for claim %d", j), func() bool {
		if len(q.results[2]) > 0 {
			q.Fatalf("claim 2 does not wait for claim %d: %v (S1)", j, <-q.results[2])
		}
		w := q.waiter(2)
		if w == nil {
			return false
		}
		w.mu.Lock()
		defer w.mu.Unlock()
		return so(w, path)
	})
}

// newPassing is three claims of a kind of which the first holds, and the third is to be let
// in by the second.
func newPassing(t *testing.T, kind string) *queue {
	t.Helper()
	q := newQueue(t, kind, kind, kind)
	q.granted(0)
	q.passesOn()
	return q
}

// onlyTheHolderIsLeft is how it ends where whoever was between the two has gone.
func (q *queue) onlyTheHolderIsLeft() {
	q.Helper()
	q.waitsFor(0, func(w *waiter, path string) bool { return w.paths[path] })
	q.users[0].release(q.claims[0])
	q.granted(2)
	q.users[2].release(q.claims[2])
}

func TestAClaimIsLetInByTheOneThatHeldBeforeIt(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"mutex", "leader"} {
		q := newPassing(t, kind)
		q.users[0].release(q.claims[0])
		q.granted(1)
		w := q.waiter(2)
		q.users[1].release(q.claims[1])
		q.granted(2)
		if w.came() == nil {
			t.Errorf("%s: it was not told, and had to ask", kind)
		}
		q.users[2].release(q.claims[2])
	}
}

func TestAClaimThatLeavesTheLineLetsNobodyIn(t *testing.T) {
	t.Parallel()
	q := newPassing(t, "mutex")
	q.users[1].release(q.claims[1])
	q.onlyTheHolderIsLeft()
}

// A note is written to both nodes, and so is what somebody writes by hand to the second.
func TestAClaimThatIsWrittenToAndRemovedLetsNobodyIn(t *testing.T) {
	t.Parallel()
	q := newPassing(t, "mutex")
	if err := q.users[1].s.SetNote(guarded(t), q.claims[1], []byte("note")); err != nil {
		t.Fatal(err)
	}
	if err := q.users[0].e.Remove(guarded(t), q.claims[1].Name, q.claims[1].ID); err != nil {
		t.Fatal(err)
	}
	q.onlyTheHolderIsLeft()
}

func TestASessionThatEndsInTheLineLetsNobodyIn(t *testing.T) {
	t.Parallel()
	q := newPassing(t, "mutex")
	if err := q.users[1].s.End(guarded(t), nil); err != nil {
		t.Fatal(err)
	}
	q.onlyTheHolderIsLeft()
}

func TestAClaimThatIsRemovedIsNotLetIn(t *testing.T) {
	t.Parallel()
	q := newPassing(t, "mutex")
	if err := q.users[0].e.Remove(guarded(t), q.claims[2].Name, q.claims[2].ID); err != nil {
		t.Fatal(err)
	}
	q.users[0].release(q.claims[0])
	q.granted(1)
	q.users[1].release(q.claims[1])
	select {
	case err := <-q.results[2]:
		if !errors.Is(err, engine.ErrNotFound) {
			t.Errorf("Acquire: %v, want ErrNotFound (S5)", err)
		}
	case <-guarded(t).Done():
		t.Fatal("a waiter is never told that it was removed")
	}
}

// Others share with it.
func TestAReaderThatHeldLetsNobodyIn(t *testing.T) {
	t.Parallel()
	q := newQueue(t, "read", "read", "write")
	q.granted(0)
	q.granted(1)
	q.users[1].release(q.claims[1])
	q.onlyTheHolderIsLeft()
}

// The order of the two events is what a release has and nothing else.
func TestNothingButAReleaseTellsThatAClaimHeld(t *testing.T) {
	t.Parallel()
	const first, second = "/first", "/second"
	gone, written := zk.EventNodeDeleted, zk.EventNodeDataChanged
	for _, c := range []struct {
		what   string
		events []zk.Event
		came   bool
	}{
		{"a release", []zk.Event{{Type: gone, Path: first}, {Type: written, Path: second}}, true},
		{"an end", []zk.Event{{Type: gone, Path: first}, {Type: gone, Path: second}}, false},
		{"an end the other way around", []zk.Event{{Type: gone, Path: second}, {Type: gone, Path: first}}, false},
		{"a note, and an end", []zk.Event{{Type: written, Path: second}, {Type: gone, Path: first}, {Type: gone, Path: second}}, false},
		{"half an end", []zk.Event{{Type: gone, Path: first}}, false},
		{"the end of a connection's session", []zk.Event{{Type: gone, Path: first}, {Type: zk.EventNotWatching, Path: second}}, false},
	} {
		w := newWaiter(NewTap(nil))
		w.expect(&next{link: &link{n: 1}, written: second}, []string{first, second})
		for _, ev := range c.events {
			w.event(ev)
		}
		if came := w.came() != nil; came != c.came {
			t.Errorf("%s: let in: %v", c.what, came)
		}
		if len(c.events) > 1 && len(w.woken) == 0 {
			t.Errorf("%s wakes nobody", c.what)
		}
	}
}
