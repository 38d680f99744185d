package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// keysOf are the keys under n/, as they were at some time since the first revision.
func keysOf(t *testing.T, a *clientv3.Client) []string {
	t.Helper()
	ctx, cancel := context.WithCancel(guarded(t))
	defer cancel()
	now, err := a.Get(ctx, "n/")
	if err != nil {
		t.Fatal(err)
	}
	last := now.Header.GetRevision()
	end, err := a.Put(ctx, "end", "")
	if err != nil {
		t.Fatal(err)
	}
	var keys []string
	for r := range a.Watch(ctx, "", clientv3.WithPrefix(), clientv3.WithRev(2)) {
		for _, ev := range r.Events {
			if ev.GetKv().GetModRevision() == end.Header.GetRevision() {
				return keys
			}
			if key := string(ev.GetKv().GetKey()); strings.HasPrefix(key, "n/") && !slices.Contains(keys, key) {
				keys = append(keys, key)
			}
		}
	}
	t.Fatalf("the watch ended before revision %d", last)
	return nil
}

// etcd's index keeps each key that was ever used until it is compacted: a lock that is
// taken again and again has one.
func TestALockThatIsTakenAgainAndAgainUsesOneKey(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, kind := range []engine.Kind{engine.Mutex, engine.Semaphore} {
		c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
		before := len(keysOf(t, admin(t, s.Addr)))
		for range 20 {
			claim := newClaim("n", kind)
			c.take(claim)
			c.give(claim)
		}
		if keys := keysOf(t, admin(t, s.Addr)); len(keys) != before+1 {
			t.Errorf("20 claims of a %v had the keys %q", kind, keys[before:])
		}
	}
}

// As many keys as there were claims at once, and their claims are told apart.
func TestClaimsAtOnceHaveAKeyEach(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	for range 3 {
		held, first, second := mutex("n"), mutex("n"), mutex("n")
		c.take(held)
		a, b := c.queue(first), c.queue(second)
		c.give(first) // it leaves
		if <-a.done; !errors.Is(a.err, engine.ErrNotFound) {
			t.Fatalf("who left: %+v, %v", a.grant, a.err)
		}
		c.give(held)
		b.granted()
		if l, err := c.e.Line(c.ctx, "n"); err != nil || len(l.Holders) != 1 || l.Holders[0].ID != second.ID || len(l.Waiters) > 0 {
			t.Fatalf("%+v, %v, want %q alone", l, err, second.ID)
		}
		c.give(second)
	}
	if keys := keysOf(t, admin(t, s.Addr)); len(keys) > 5 { // that of who left by force is not used again
		t.Errorf("three at once had %d keys: %q", len(keys), keys)
	}
}

// holds fails unless exactly this claim holds "n".
func holds(t *testing.T, c *client, claim *engine.Claim) {
	t.Helper()
	l, err := c.e.Line(c.ctx, claim.Name)
	if err != nil || len(l.Holders) != 1 || l.Holders[0].ID != claim.ID {
		t.Errorf("the line is %+v, %v, want %q alone", l, err, claim.ID)
	}
}

// A release that was delayed on its way until its caller had left, and asked again, does
// not end the claim that came then (S3).
func TestAReleaseThatArrivesLateEndsNoLaterClaim(t *testing.T) {
	t.Parallel()
	s := start(t)
	for _, leaves := range []bool{true, false} {
		t.Run(fmt.Sprintf("the caller leaves %v", leaves), func(t *testing.T) {
			t.Parallel()
			delays := newDelayer(t, s)
			c := begin(t, delays.Engine, engine.SessionOptions{})
			old, later := mutex(t.Name()), mutex(t.Name())
			c.take(old)
			late := delays.hold("/DeleteRange")
			ctx, leave := context.WithCancel(c.ctx)
			defer leave()
			first := make(chan error, 1)
			go func() { _, err := c.Release(ctx, old); first <- err }()
			<-late.held
			if leaves {
				leave()
				if err := <-first; !errors.Is(err, context.Canceled) {
					t.Errorf("the first: %v", err)
				}
			}
			c.give(old)
			c.take(later)
			late.deliver()
			holds(t, c, later)
			c.give(later)
		})
	}
}

// So does one that was repeated while the first was under way, and comes when that has
// been answered and another claim has the key.
func TestARepeatedReleaseThatArrivesLateEndsNoLaterClaim(t *testing.T) {
	t.Parallel()
	delays := newDelayer(t, start(t))
	c := begin(t, delays.Engine, engine.SessionOptions{})
	old, later := mutex("n"), mutex("n")
	c.take(old)
	released := make(chan error, 2)
	release := func() { _, err := c.Release(c.ctx, old); released <- err }
	first := delays.hold("/DeleteRange")
	go release()
	<-first.held
	again := delays.hold("/Txn")
	go release()
	<-again.held
	first.deliver()
	if err := <-released; err != nil {
		t.Fatal(err)
	}
	sh, _ := shapeOf(later)
	c.take(later)
	if at := c.restOf(later, sh); !strings.HasSuffix(at, "-1.m1") {
		t.Fatalf("the later claim has %q, not the first's key", at)
	}
	again.deliver()
	<-released
	holds(t, c, later)
}

// A release that is repeated when another claim has the key does nothing to it.
func TestAReleaseThatIsRepeatedEndsNoLaterClaim(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	old, later := mutex("n"), mutex("n")
	c.take(old)
	c.give(old)
	c.take(later)
	if removed, err := c.Release(c.ctx, old); removed || err != nil {
		t.Errorf("%v, %v", removed, err)
	}
	holds(t, c, later)
	if err := c.SetNote(c.ctx, old, []byte("late")); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a note of a claim that has ended: %v", err)
	}
	holds(t, c, later)
}

// A claim whose request was delayed on its way comes to be after it was withdrawn. No
// other one has its key, and the renewals find it (S4).
func TestAKeyWhoseClaimIsInDoubtIsNotUsedAgain(t *testing.T) {
	t.Parallel()
	s := start(t)
	delays := newDelayer(t, s)
	c := begin(t, delays.Engine, engine.SessionOptions{TTL: 20 * time.Second})
	first := mutex("n")
	c.take(first)
	c.give(first) // its key is free

	late := delays.hold("/Txn")
	ghost, later := mutex("n"), mutex("n")
	ctx, leave := context.WithCancel(c.ctx)
	gaveUp := make(chan error, 1)
	go func() { _, err := c.Acquire(ctx, ghost, false); gaveUp <- err }()
	<-late.held
	leave()
	if err := <-gaveUp; !errors.Is(err, context.Canceled) {
		t.Errorf("the ghost: %v", err)
	}
	if removed, err := c.Release(c.ctx, ghost); removed || err != nil {
		t.Errorf("its withdrawal: %v, %v", removed, err)
	}
	c.take(later)
	c.give(later)
	late.deliver()
	holds(t, c, ghost)
	if removed, err := c.Release(c.ctx, ghost); !removed || err != nil { // it is found by name
		t.Errorf("its withdrawal while a straggler may arrive: %v, %v", removed, err)
	}
	c.take(later)
	c.give(later)
}

// A ghost is one also where its key had been used before.
func TestAGhostInAKeyThatWasUsedBeforeIsRemoved(t *testing.T) {
	t.Parallel()
	s := start(t)
	delays := newDelayer(t, s)
	c := begin(t, delays.Engine, engine.SessionOptions{TTL: 20 * time.Second})
	first, ghost := mutex("n"), mutex("n")
	c.take(first)
	c.give(first)
	late := delays.hold("/Txn")
	ctx, leave := context.WithCancel(c.ctx)
	gaveUp := make(chan error, 1)
	go func() { _, err := c.Acquire(ctx, ghost, false); gaveUp <- err }()
	<-late.held
	leave()
	<-gaveUp
	late.deliver()
	holds(t, c, ghost)
	await(t, "the ghost to go", func() bool {
		if err := renewed(c.Session, nil); err != nil {
			t.Fatal(err)
		}
		l, err := c.e.Line(c.ctx, "n")
		return err == nil && len(l.Holders) == 0
	})
}

// So is what stands in a key that nobody has at the moment: after a server was put back to
// where it had been before the claim ended, or by somebody's hand.
func TestAGhostInAKeyThatIsFreeIsRemoved(t *testing.T) {
	t.Parallel()
	c := begin(t, openOn(t, []string{start(t).Addr}, nil), engine.SessionOptions{TTL: 20 * time.Second})
	ended := mutex("n")
	sh, _ := shapeOf(ended)
	c.take(ended)
	key := c.e.dir("n") + c.restOf(ended, sh)
	c.give(ended)
	if _, err := c.e.client.Put(c.ctx, key, sh.value(ended.ID, nil), clientv3.WithLease(c.lease)); err != nil {
		t.Fatal(err)
	}
	holds(t, c, ended)
	await(t, "the ghost to go", func() bool {
		if err := renewed(c.Session, nil); err != nil {
			t.Fatal(err)
		}
		l, err := c.e.Line(c.ctx, "n")
		return err == nil && len(l.Holders) == 0
	})
}

// What is in use at each renewal, by a claim that came since the claims were put together,
// is no ghost.
func TestAKeyThatIsUsedAgainAndAgainIsNoGhost(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	c.ttl = 0 // any two renewals are far enough apart
	for range 3 {
		claim := mutex("n")
		c.take(claim)
		if err := renewed(c.Session, nil); err != nil {
			t.Fatal(err)
		}
		holds(t, c, claim)
		c.give(claim)
	}
}

// Somebody else's hand has put a claim into a free key: ours takes another one.
func TestAClaimWhoseKeyIsTakenTakesAnother(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	for _, kind := range []engine.Kind{engine.Mutex, engine.Semaphore} {
		name := fmt.Sprint("n", kind)
		newOne := func() *engine.Claim {
			claim := newClaim(name, kind)
			if claim.Limit = 1; kind == engine.Semaphore {
				claim.Limit = 2
			}
			return claim
		}
		first := newOne()
		sh, _ := shapeOf(first)
		c.take(first)
		key := c.e.dir(name) + c.restOf(first, sh)
		c.give(first)
		if _, err := c.e.client.Put(c.ctx, key, "somebody\nnote", clientv3.WithLease(c.lease)); err != nil {
			t.Fatal(err)
		}
		ours, tries := newOne(), try(newOne())
		_, err := c.Acquire(c.ctx, tries, false)
		if held := errors.Is(err, engine.ErrHeld); held != (kind == engine.Mutex) || !held && err != nil {
			t.Errorf("a try of a %v: %v", kind, err)
		}
		if err == nil {
			c.give(tries)
		}
		if kind == engine.Semaphore {
			c.take(ours)
		} else {
			q := c.queue(ours)
			if _, err := c.e.client.Delete(c.ctx, key); err != nil {
				t.Fatal(err)
			}
			q.granted()
		}
		c.give(ours)
	}
}

// Behind a claim that is about to withdraw, as it does not fit the line, there is nobody
// who waits for what it fits no better (S11).
func TestAMismatchBehindOneThatWithdrawsIsTold(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	holder := newClaim("n", engine.Semaphore)
	holder.Limit = 2
	c.take(holder)
	withdraws := "n/" + c.restAt("77", shape{kind: engine.Mutex, version: layoutVersion})
	if _, err := c.e.client.Put(c.ctx, withdraws, "somebody\n", clientv3.WithLease(c.lease)); err != nil {
		t.Fatal(err)
	}
	q := c.queue(mutex("n"))
	if _, err := c.e.client.Delete(c.ctx, withdraws); err != nil {
		t.Fatal(err)
	}
	if <-q.done; !errors.Is(q.err, engine.ErrMismatch) {
		t.Errorf("%+v, %v, want a mismatch", q.grant, q.err)
	}
	holds(t, c, holder)
}

// A member that is behind tells of an earlier life of a key, which proves nothing.
func TestTheNextInLineBelievesNoEarlierLifeOfAKey(t *testing.T) {
	t.Parallel()
	c := begin(t, openOn(t, []string{start(t).Addr}, nil), engine.SessionOptions{})
	a := &attempt{s: c.Session, key: "n/own", w: c.wait(mutex("n"))}
	v := view{next: true, created: 10, blocker: blocker{key: "n/held", created: 8}}
	deleted := func(key string, rev int64) *clientv3.Event {
		return &clientv3.Event{Type: clientv3.EventTypeDelete, Kv: keyAt(key, rev)}
	}
	changes := make(chan clientv3.WatchResponse, 2)
	changes <- clientv3.WatchResponse{Events: []*clientv3.Event{deleted("n/held", 5), deleted("n/own", 7)}}
	changes <- clientv3.WatchResponse{Events: []*clientv3.Event{deleted("n/held", 12)}}
	if passed, err := a.untilTold(c.ctx, changes, v); passed != 12 || err != nil {
		t.Errorf("granted at %d, %v, want 12", passed, err)
	}
}

// What is remembered of names that are no longer used is bounded, and so is what is
// remembered of claims in doubt.
func TestWhatIsRememberedOfKeysIsBounded(t *testing.T) {
	t.Parallel()
	var s seats
	for i := range 3 * maxSpare {
		c := mutex(fmt.Sprint("n", i))
		sh, err := shapeOf(c)
		if err != nil {
			t.Fatal(err)
		}
		s.take(c, sh)
		s.left(c, sh, s.leaving(c.ID))
		doubted := mutex("doubted")
		s.unsure(doubted, sh, "x")
	}
	if len(s.taken) > 0 || s.spare > maxSpare || len(s.free) > maxSpare {
		t.Errorf("%d taken, %d spare, of %d names", len(s.taken), s.spare, len(s.free))
	}
	s.forget(time.Now().Add(time.Second))
	if len(s.doubted) > 0 {
		t.Errorf("%d in doubt", len(s.doubted))
	}
}
