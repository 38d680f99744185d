package enginetest

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

// The same faults seen from above the seam: what package lockstep promises its
// users must hold on this engine whatever its network does.
var coreChecks = []check{
	{rule: "whatever happens to an Acquire, Lock holds once and Release frees", run: lockOnBadNetwork},
	{rule: "whatever happens to a Release, the next is let in and keeps it", run: unlockOnBadNetwork},
	{rule: "a caller that gives up leaves nothing behind", needs: needFIFO, run: givingUpOnBadNetwork},
	{rule: "a term is one claim and ends", needs: needTerm, run: termOnBadNetwork},
	{rule: "a session that ends is a lost lease, and the client goes on", run: lossThroughCore},
	{rule: "with faults at random no two believe to hold at one time", run: coreExclusion},
	{rule: "a counter is exact", needs: needStore, run: coreCounter},
	{rule: "a watch that breaks shows the last state of every key, in order", needs: needStore, run: coreWatch},
}

// coreTTL is long for a machine that stands still, and short for the core's
// pauses between tries, which are parts of it.
const coreTTL = 20 * time.Second

// coreClient is a client of the core, on a network that is good so far.
func (s *suite) coreClient(t TB, ttl time.Duration) (*lockstep.Client, *FaultyEngine) {
	t.Helper()
	f := Faulty(s.Open(t))
	c, err := lockstep.New(f, lockstep.WithTTL(ttl), lockstep.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatalf("New: %v", err)
	}
	t.Cleanup(func() {
		f.Heal()
		if err := c.Close(); err != nil {
			t.Errorf("Close of the client: %v", err)
		}
		if err := f.Close(); err != nil {
			t.Errorf("Close of the engine: %v", err)
		}
	})
	return c, f
}

// empty waits until a line has nobody: what a caller left is withdrawn in the
// background.
func (c *client) empty(name string) {
	c.Helper()
	c.await(name, "an empty line", func(l engine.Line) bool { return len(l.Holders)+len(l.Waiters) == 0 })
}

func (c *client) lock(lc *lockstep.Client, name string) *lockstep.Lease {
	c.Helper()
	lease, err := lc.Mutex(name).Lock(c.ctx)
	if err != nil {
		c.Fatalf("Lock: %v", c.cause(err))
	}
	return lease
}

func (c *client) unlock(l *lockstep.Lease) {
	c.Helper()
	if err := l.Release(c.ctx); err != nil {
		c.Errorf("Release of a lease: %v", c.cause(err))
	}
}

func lockOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, coreTTL)
	for _, fault := range networkFaults {
		name := a.name()
		f.On(Acquire, 1, fault)
		lease := a.lock(lc, name)
		f.Arrived()
		a.wantLine(fault.String(), name, claimIDs{lease.ID()}, claimIDs{})
		next := a.enqueue(mutex(name))
		a.unlock(lease)
		if next.granted().Token <= lease.Token() {
			t.Errorf("%v: token %d after %d (S2)", fault, next.grant.Token, lease.Token())
		}
		f.On(Acquire, 1, fault)
		_, err := lc.Mutex(name).TryLock(a.ctx)
		is(t, fault.String()+": TryLock of what is held", err, lockstep.ErrHeld)
		f.Arrived()
		a.wantLine(fault.String()+", after TryLock", name, claimIDs{next.claim.ID}, claimIDs{})
		a.release(next.claim)
		a.empty(name)
	}
}

func unlockOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, coreTTL)
	for _, fault := range networkFaults {
		lease := a.lock(lc, a.name())
		next := a.enqueue(mutex(lease.Name()))
		f.On(Release, 1, fault)
		// The second answer to a Release that was sent twice is that there was
		// no claim: that may be told as a loss.
		twice := func(err error) bool { return fault == Twice && errors.Is(err, lockstep.ErrLost) }
		if err := lease.Release(a.ctx); err != nil && !twice(err) {
			t.Errorf("%v: Release: %v", fault, a.cause(err))
		}
		next.granted()
		f.Arrived()
		a.wantLine(fault.String()+" (S3)", lease.Name(), claimIDs{next.claim.ID}, claimIDs{})
		if err := lease.Release(a.ctx); err != nil && !twice(err) {
			t.Errorf("%v: Release again: %v", fault, err)
		}
		if err := lease.Err(); !errors.Is(err, lockstep.ErrReleased) && !twice(err) {
			t.Errorf("%v: a released lease says %v", fault, err)
		}
	}
}

// givingUpOnBadNetwork has callers give up while their claim waits, with a fault
// on the way in and another on the way out.
func givingUpOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, coreTTL)
	for i, fault := range networkFaults {
		holder := mutex(a.name())
		a.acquire(holder)
		f.On(Acquire, 1, fault)
		f.On(Release, 1, networkFaults[(i+1)%len(networkFaults)])
		ctx, cancel := context.WithCancel(a.ctx)
		gaveUp := make(chan error, 1)
		go func() {
			_, err := lc.Mutex(holder.Name).Lock(ctx)
			gaveUp <- err
		}()
		a.await(holder.Name, "the claim to wait", func(l engine.Line) bool { return len(l.Waiters) == 1 })
		behind := a.enqueue(mutex(holder.Name))
		cancel()
		is(t, fault.String()+": Lock, given up", <-gaveUp, context.Canceled)
		f.Arrived()
		a.await(holder.Name, "the claim to be withdrawn", func(l engine.Line) bool { return len(l.Waiters) == 1 })
		behind.waits()
		a.release(holder)
		behind.granted()
	}
}

func termOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, coreTTL)
	for _, fault := range networkFaults {
		name := a.name()
		f.On(Acquire, 1, fault)
		lease, err := lc.Mutex(name).LockFor(a.ctx, s.longTerm())
		if err != nil {
			t.Fatalf("%v: LockFor: %v", fault, a.cause(err))
		}
		f.Arrived()
		a.wantLine(fault.String(), name, claimIDs{lease.ID()}, claimIDs{})
		a.unlock(lease)
		a.empty(name)
	}
}

func lossThroughCore(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, 2*time.Second)
	lease := a.lock(lc, a.name())
	next := a.enqueue(mutex(lease.Name()))
	f.On(Renew, 1, SessionEnds)
	select {
	case <-lease.Context().Done():
	case <-a.ctx.Done():
		t.Fatalf("the lease's context: %v", context.Cause(a.ctx))
	}
	is(t, "a lease whose session ended", lease.Err(), lockstep.ErrLost)
	next.granted()
	lease.Release(a.ctx)
	a.wantLine("after a lost lease's Release (S3)", lease.Name(), claimIDs{next.claim.ID}, claimIDs{})
	a.release(next.claim)
	if again := a.lock(lc, lease.Name()); again.Token() <= next.grant.Token {
		t.Errorf("token %d after %d (S2)", again.Token(), next.grant.Token)
	}
}

func coreExclusion(t TB, s *suite) {
	a := s.client(t)
	name := a.name()
	var h history
	var all sync.WaitGroup
	for w := range 4 {
		lc, f := s.coreClient(t, coreTTL)
		f.Random(uint64(w), 0.25, networkFaults...)
		all.Go(func() {
			for i := range rounds {
				ctx, cancel := context.WithCancel(a.ctx)
				if (i+w)%3 == 0 { // this one gives up at some moment
					time.AfterFunc(work, cancel)
				}
				lease, err := lc.Mutex(name).Lock(ctx)
				start := time.Now()
				if err == nil {
					time.Sleep(work)
					h.add(belief{lease.Token(), start, time.Now()}, lease.Err() == nil)
					if err := lease.Release(a.ctx); err != nil && !errors.Is(err, lockstep.ErrLost) {
						t.Errorf("Release: %v", a.cause(err))
					}
				} else if !errors.Is(err, context.Canceled) && !errors.Is(err, lockstep.ErrUnavailable) {
					t.Errorf("Lock: %v", a.cause(err))
				}
				cancel()
			}
		})
	}
	all.Wait()
	for _, fault := range overlaps(h.beliefs) {
		t.Errorf("%s", fault)
	}
	if least := 4 * rounds / 3; len(h.beliefs) < least {
		t.Errorf("%d leases, want %d at least", len(h.beliefs), least)
	}
	a.empty(name)
}

func coreCounter(t TB, s *suite) {
	const clients, additions = 3, 8
	a := s.client(t)
	name := a.name()
	a.commit(name, put("", "0"))
	var all sync.WaitGroup
	for i := range clients {
		lc, f := s.coreClient(t, coreTTL)
		f.Random(uint64(i), 0.33, commitFaults...)
		m := lc.Map(name)
		all.Go(func() {
			for done := 0; done < additions; {
				e, err := m.Get(a.ctx, "")
				if err != nil {
					t.Errorf("Get: %v", a.cause(err))
					return
				}
				n, _ := strconv.Atoi(string(e.Value))
				_, err = m.CompareAndSwap(a.ctx, "", e.Revision, []byte(strconv.Itoa(n+1)))
				switch {
				case err == nil:
					done++
				case !errors.Is(err, lockstep.ErrConflict):
					t.Errorf("CompareAndSwap: %v", a.cause(err))
					return
				}
			}
			f.Arrived()
		})
	}
	all.Wait()
	if e := a.get(name, ""); string(e.Value) != strconv.Itoa(clients*additions) {
		t.Errorf("%d clients added %d each: the counter is %s (S4)", clients, additions, e.Value)
	}
}

func coreWatch(t TB, s *suite) {
	a := s.client(t)
	name := a.name()
	lc, f := s.coreClient(t, coreTTL)
	f.Random(7, 0.2, DropRequest)
	a.commit(name, put("gone", "before"))
	var writer sync.WaitGroup
	defer writer.Wait()
	last := replica{"last": "", "0": "9", "1": "7", "2": "8"}
	known := replica{}
	var shown lockstep.Revision
	for change, err := range lc.Map(name).Watch(a.ctx) {
		if err != nil {
			t.Errorf("Watch: %v", a.cause(err))
			return
		}
		if shown == 0 {
			writer.Go(func() { writeOver(t, a, name) })
		}
		if change.Revision < shown {
			t.Errorf("revision %d after %d (S9)", change.Revision, shown)
		}
		shown = max(shown, change.Revision)
		switch change.Op {
		case lockstep.OpPut:
			known[change.Key] = string(change.Value)
		case lockstep.OpDelete:
			delete(known, change.Key)
		}
		if maps.Equal(known, last) {
			return
		}
	}
	t.Errorf("the watch ended with %v", known)
}

// writeOver goes over a few keys, with deletes.
func writeOver(t TB, a *client, m string) {
	for i := range 10 {
		key := strconv.Itoa(i % 3)
		for _, change := range []engine.Entry{del(key), put(key, strconv.Itoa(i))} {
			if _, err := a.engine.Store().Commit(a.ctx, m, engine.Tx{Put: []engine.Entry{change}}); err != nil {
				t.Errorf("Commit: %v", a.cause(err))
			}
		}
	}
	for _, change := range []engine.Entry{del("gone"), put("last", "")} {
		if _, err := a.engine.Store().Commit(a.ctx, m, engine.Tx{Put: []engine.Entry{change}}); err != nil {
			t.Errorf("Commit: %v", a.cause(err))
		}
	}
}
