package etcdengine

import (
	"errors"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

// nextInLine is a holder of "n", and who waits for it and asks nothing any more.
// Requests are the waiter's.
func nextInLine(t *testing.T, s *etcdtest.Member) (holder, waiter *client, held *engine.Claim, q *queued, requests *atomic.Int64) {
	t.Helper()
	requests = &atomic.Int64{}
	e, err := FromClient(guarded(t), newClient(t, []string{s.Addr}, requests), WithTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	e.owned = true
	t.Cleanup(func() { e.Close() })
	holder, waiter = begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{}), begin(t, e, engine.SessionOptions{})
	held = mutex("n")
	holder.take(held)
	q = waiter.queue(mutex("n"))
	await(t, "the waiter to be asleep", func() bool { return Asleep([]*Session{waiter.Session}) })
	requests.Store(0)
	return holder, waiter, held, q, requests
}

// Who waits for the only other claim is granted by what it is told, on every version.
func TestTheNextInLineIsGrantedWithoutARequest(t *testing.T) {
	t.Parallel()
	for name, program := range map[string]string{"newest": "", "Debian's": etcdtest.Debian} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := etcdtest.StartWith(t, etcdtest.Options{Program: program}).Members[0]
			holder, waiter, held, q, requests := nextInLine(t, s)
			last := mutex("n")
			behind := holder.queue(last)
			holder.give(held)
			before := q.granted().Token
			if n := requests.Load(); n != 0 {
				t.Errorf("%d requests", n)
			}
			waiter.give(q.claim)
			if after := behind.granted().Token; after <= before {
				t.Errorf("token %d after %d (S2)", after, before)
			}
		})
	}
}

// A session that was not proven for long may have ended: then the watch alone proves
// nothing (S1).
func TestTheNextInLineAsksWhereItsSessionIsNotProven(t *testing.T) {
	t.Parallel()
	holder, waiter, held, q, requests := nextInLine(t, start(t))
	old := time.Now().Add(-waiter.TTL())
	waiter.proof.Store(&old)
	holder.give(held)
	q.granted()
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want one look", n)
	}
}

// Somebody deletes both claims, the waiter's first or both at once: it is not granted
// with a claim that is gone, whichever is first in the order of keys (S5).
func TestTheNextInLineIsNotGrantedAClaimThatIsGone(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := admin(t, s.Addr)
	for i := range tries(20, 200) {
		holder, waiter, held, q, _ := nextInLine(t, s)
		if i%2 == 0 {
			sh, _ := shapeOf(q.claim)
			if _, err := a.Delete(holder.ctx, "n/"+waiter.restOf(q.claim, sh)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := a.Delete(holder.ctx, "n/", clientv3.WithPrefix()); err != nil {
			t.Fatal(err)
		}
		if <-q.done; !errors.Is(q.err, engine.ErrNotFound) {
			t.Fatalf("%+v, %v, want ErrNotFound", q.grant, q.err)
		}
		if removed, err := holder.Release(holder.ctx, held); removed || err != nil {
			t.Errorf("release: %v, %v", removed, err)
		}
	}
}

// A holder that is of the waiter's own session ends with it.
func TestTheNextInLineIsNotGrantedByTheEndOfItsOwnSession(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := admin(t, s.Addr)
	e := openOn(t, []string{s.Addr}, nil)
	for range tries(10, 100) {
		c := begin(t, e, engine.SessionOptions{})
		c.take(mutex("n"))
		q := c.queue(mutex("n"))
		await(t, "the waiter to be asleep", func() bool { return Asleep([]*Session{c.Session}) })
		if _, err := a.Revoke(c.ctx, c.lease); err != nil {
			t.Fatal(err)
		}
		if <-q.done; !errors.Is(q.err, engine.ErrSessionEnded) && !errors.Is(q.err, engine.ErrNotFound) {
			t.Fatalf("%+v, %v, want that it is gone", q.grant, q.err)
		}
	}
}

// A claim that came later, and whose key is between the two, wakes nobody as it leaves (S8).
func TestTheNextInLineIsNotWokenByWhoLeavesBehindIt(t *testing.T) {
	t.Parallel()
	holder, waiter, held, q, requests := nextInLine(t, start(t))
	sh, _ := shapeOf(held)
	between := "n/" + min(holder.restOf(held, sh), waiter.restOf(q.claim, sh)) + "-"
	for range 20 {
		if _, err := holder.e.client.Put(holder.ctx, between, "", clientv3.WithLease(holder.lease)); err != nil {
			t.Fatal(err)
		}
		if _, err := holder.e.client.Delete(holder.ctx, between); err != nil {
			t.Fatal(err)
		}
	}
	holder.give(held)
	q.granted()
	if n := requests.Load(); n != 0 {
		t.Errorf("%d requests", n)
	}
}

// Who entered behind a waiter is granted by the holder's end, not by the waiter's leaving.
func TestWhoEnteredFurtherBackIsNotTheNextInLine(t *testing.T) {
	t.Parallel()
	s := start(t)
	holder, waiter, held, q, _ := nextInLine(t, s)
	third := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	last := third.queue(mutex("n"))
	await(t, "the third to be asleep", func() bool { return Asleep([]*Session{third.Session}) })
	waiter.give(q.claim)
	<-q.done
	left, err := holder.e.client.Put(holder.ctx, "left", "")
	if err != nil {
		t.Fatal(err)
	}
	holder.give(held)
	if token := last.granted().Token; int64(token) <= left.Header.GetRevision() {
		t.Errorf("it was granted at revision %d, while somebody held at %d", token, left.Header.GetRevision())
	}
}
