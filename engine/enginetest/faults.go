package enginetest

import (
	"crypto/rand"
	"errors"
	"slices"
	"strconv"
	"sync"

	"github.com/lockstep-go/lockstep/engine"
)

// Each call of the seam on a bad network, by a caller that does what the core
// does: repeat what is in doubt, and end a claim until it can no longer come.
var faultChecks = []check{
	{rule: "whatever happens to an Acquire, it is one claim in one place", needs: needFIFO, run: acquireOnBadNetwork},
	{rule: "whatever happens to a Release, it ends its own claim and lets the next in", run: releaseOnBadNetwork},
	{rule: "whatever happens to a leaver's Release, others keep their places", needs: needFIFO, run: leavingOnBadNetwork},
	{rule: "whatever happens to a Renew, it keeps what is there and brings nothing back", run: renewOnBadNetwork},
	{rule: "whatever happens to SetNote and Remove, they touch their own claim", run: othersOnBadNetwork},
	{rule: "whatever happens to a Pass, the heir is next", needs: needPass | needFIFO, run: passOnBadNetwork},
	{rule: "whatever happens to End, everything is let go", run: endOnBadNetwork},
	{rule: "a session that ends under a call is ended", run: sessionEndsUnderCall},
	{rule: "whatever happens to commits, a counter is exact", needs: needStore, run: counterOnBadNetwork},
	{rule: "with faults at random no two believe to hold at one time", run: exclusionOnBadNetwork},
}

// networkFaults are those that leave the session alone.
var networkFaults = []Fault{DropRequest, DropReply, Twice, Late, Cut, Delay}

// faulty is a client on a bad network, which is a good one so far.
func (s *suite) faulty(t TB) (*client, *FaultyEngine) {
	t.Helper()
	f := Faulty(s.Open(t))
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	c := s.on(t, f, engine.SessionOptions{TTL: longTTL})
	t.Cleanup(f.Heal)
	return c, f
}

// end releases until the claim can no longer arrive.
func (c *client) end(f *FaultyEngine, cl *engine.Claim) {
	c.Helper()
	release := func() error {
		_, err := c.session.Release(c.ctx, cl)
		return err
	}
	if err := c.insistOn(release); err != nil {
		c.Errorf("Release: %v", err)
	}
	f.Arrived()
	if err := c.insistOn(release); err != nil {
		c.Errorf("Release, after all that was late: %v", err)
	}
}

func (c *client) wantLine(when, name string, holders, waiters []engine.ClaimID) {
	c.Helper()
	if l := c.line(name); !slices.Equal(ids(l.Holders), holders) || !slices.Equal(ids(l.Waiters), waiters) {
		c.Errorf("%s: %s, want %v and %v", when, showLine(l), holders, waiters)
	}
}

type claimIDs = []engine.ClaimID

func acquireOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	b, f := s.faulty(t)
	for _, fault := range networkFaults {
		// Free: granted at its first arrival.
		cl := mutex(a.name())
		f.On(Acquire, 1, fault)
		b.insist(cl).granted()
		f.Arrived()
		a.wantLine(fault.String(), cl.Name, claimIDs{cl.ID}, claimIDs{})
		b.end(f, cl)
		a.wantLine(fault.String()+", released", cl.Name, claimIDs{}, claimIDs{})

		// Held: it waits, and another behind it.
		holder, waiting := mutex(cl.Name), mutex(cl.Name)
		a.acquire(holder)
		f.On(Acquire, 1, fault)
		p := b.insist(waiting)
		a.await(cl.Name, "the claim to wait", func(l engine.Line) bool { return has(l.Waiters, waiting.ID) })
		behind := a.enqueue(mutex(cl.Name))
		f.Arrived()
		a.wantLine(fault.String()+", waiting", cl.Name, claimIDs{holder.ID}, claimIDs{waiting.ID, behind.claim.ID})
		a.release(holder)
		p.granted()
		a.wantLine(fault.String()+", granted", cl.Name, claimIDs{waiting.ID}, claimIDs{behind.claim.ID})
		b.end(f, waiting)
		behind.granted()
		a.release(behind.claim)
	}
}

func releaseOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	b, f := s.faulty(t)
	for _, fault := range networkFaults {
		cl := mutex(a.name())
		b.acquire(cl)
		next := a.enqueue(mutex(cl.Name))
		f.On(Release, 1, fault)
		b.end(f, cl)
		next.granted()
		a.wantLine(fault.String()+" (S3)", cl.Name, claimIDs{next.claim.ID}, claimIDs{})
	}
}

func leavingOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	b, f := s.faulty(t)
	for _, fault := range networkFaults {
		holder := mutex(a.name())
		a.acquire(holder)
		first, leaver, last := a.enqueue(mutex(holder.Name)), b.enqueue(mutex(holder.Name)), a.enqueue(mutex(holder.Name))
		leaver.abandon()
		f.On(Release, 1, fault)
		b.end(f, leaver.claim)
		a.wantLine(fault.String()+" (S6)", holder.Name, claimIDs{holder.ID}, claimIDs{first.claim.ID, last.claim.ID})
		first.waits()
		last.waits()
	}
}

func renewOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	for _, fault := range networkFaults {
		b, f := s.faulty(t)
		kept, gone := mutex(a.name()), mutex(a.name())
		b.acquire(kept)
		b.acquire(gone)
		if err := a.engine.Remove(a.ctx, gone.Name, gone.ID); err != nil {
			t.Fatalf("Remove: %v", err)
		}
		next := mutex(gone.Name)
		a.acquire(next)
		f.On(Renew, 1, fault)
		var r engine.Renewal
		if err := b.insistOn(func() (err error) { r, err = b.session.Renew(b.ctx, b.begun()); return err }); err != nil {
			t.Fatalf("%v: Renew: %v", fault, err)
		}
		f.Arrived()
		if !slices.Equal(r.Lost, claimIDs{gone.ID}) {
			t.Errorf("%v: Renew lost %v, want the claim that was removed", fault, r.Lost)
		}
		a.wantLine(fault.String(), kept.Name, claimIDs{kept.ID}, claimIDs{})
		a.wantLine(fault.String(), gone.Name, claimIDs{next.ID}, claimIDs{})
	}
}

func othersOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	b, f := s.faulty(t)
	for _, fault := range networkFaults {
		cl := mutex(a.name())
		b.acquire(cl)
		next := a.enqueue(mutex(cl.Name))
		f.On(SetNote, 1, fault)
		if err := b.insistOn(func() error { return b.session.SetNote(b.ctx, cl, []byte("note")) }); err != nil {
			t.Errorf("%v: SetNote: %v", fault, err)
		}
		f.Arrived()
		if l := a.line(cl.Name); string(l.Holders[0].Note) != "note" || len(l.Waiters[0].Note) > 0 {
			t.Errorf("%v: notes %q and %q", fault, l.Holders[0].Note, l.Waiters[0].Note)
		}
		f.On(Remove, 1, fault)
		if err := b.insistOn(func() error { return b.engine.Remove(b.ctx, cl.Name, cl.ID) }); err != nil {
			t.Errorf("%v: Remove: %v", fault, err)
		}
		next.granted()
		f.Arrived()
		a.wantLine(fault.String(), cl.Name, claimIDs{next.claim.ID}, claimIDs{})
	}
}

func passOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	b, f := s.faulty(t)
	for _, fault := range networkFaults {
		holder := mutex(a.name())
		b.acquire(holder)
		other, heir := a.enqueue(mutex(holder.Name)), a.enqueue(mutex(holder.Name))
		f.On(Pass, 1, fault)
		if err := b.insistOn(func() error { return b.session.Pass(b.ctx, holder, heir.claim.ID) }); err != nil {
			t.Errorf("%v: Pass: %v", fault, err)
		}
		heir.granted()
		f.Arrived()
		a.wantLine(fault.String(), holder.Name, claimIDs{heir.claim.ID}, claimIDs{other.claim.ID})
	}
}

func endOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	for _, fault := range networkFaults {
		b, f := s.faulty(t)
		held := mutex(a.name())
		b.acquire(held)
		next := a.enqueue(mutex(held.Name))
		f.On(End, 1, fault)
		if err := b.insistOn(func() error { return b.session.End(b.ctx, b.begun()) }); err != nil {
			t.Errorf("%v: End: %v", fault, err)
		}
		next.granted()
		f.Arrived()
		a.wantLine(fault.String(), held.Name, claimIDs{next.claim.ID}, claimIDs{})
	}
}

func sessionEndsUnderCall(t TB, s *suite) {
	a := s.client(t)
	for _, call := range []Call{Acquire, Renew, Release, SetNote} {
		b, f := s.faulty(t)
		held, wanted := mutex(a.name()), mutex(a.name())
		b.acquire(held)
		next := a.enqueue(mutex(held.Name))
		f.On(call, 1, SessionEnds)
		var err error
		switch call {
		case Acquire:
			_, err = b.attempt(b.ctx, wanted, false)
		case Renew:
			_, err = b.session.Renew(b.ctx, b.begun())
		case Release:
			if _, err = b.session.Release(b.ctx, held); err == nil {
				err = engine.ErrSessionEnded // it may also say that there was nothing
			}
		case SetNote:
			if err = b.session.SetNote(b.ctx, held, nil); errors.Is(err, engine.ErrNotFound) {
				err = engine.ErrSessionEnded
			}
		}
		is(t, string(call), err, engine.ErrSessionEnded)
		next.granted()
		a.wantLine(string(call), held.Name, claimIDs{next.claim.ID}, claimIDs{})
		a.wantLine(string(call), wanted.Name, claimIDs{}, claimIDs{})
	}
}

// commitFaults are those of calls that do not wait.
var commitFaults = []Fault{DropRequest, DropReply, Twice, Late, Delay}

func counterOnBadNetwork(t TB, s *suite) {
	const clients, additions = 3, 8
	first := s.client(t)
	m := first.name()
	first.commit(m, put("", "0"))
	var all sync.WaitGroup
	for i := range clients {
		c, f := s.faulty(t)
		f.Random(uint64(i), 0.33, commitFaults...)
		all.Go(func() {
			for done := 0; done < additions; {
				switch err := c.addOne(m); {
				case err == nil:
					done++
				case !errors.Is(err, engine.ErrConflict):
					t.Errorf("adding: %v", err)
					return
				}
			}
			f.Arrived()
		})
	}
	all.Wait()
	if e := first.get(m, ""); string(e.Value) != strconv.Itoa(clients*additions) {
		t.Errorf("%d clients added %d each: the counter is %s (S4)", clients, additions, e.Value)
	}
}

// addOne reads and commits if unchanged, under one ID however often.
func (c *client) addOne(m string) error {
	var e engine.Entry
	if err := c.insistOn(func() (err error) { e, err = c.engine.Store().Get(c.ctx, m, ""); return err }); err != nil {
		return err
	}
	n, err := strconv.Atoi(string(e.Value))
	if err != nil {
		return err
	}
	tx := engine.Tx{ID: rand.Text(), If: []engine.Cond{{Revision: e.Revision}}, Put: []engine.Entry{put("", strconv.Itoa(n+1))}}
	return c.insistOn(func() error { _, err := c.engine.Store().Commit(c.ctx, m, tx); return err })
}

// exclusionOnBadNetwork has some callers give up as well.
func exclusionOnBadNetwork(t TB, s *suite) {
	watcher := s.client(t)
	name := watcher.name()
	var h history
	var all sync.WaitGroup
	for w := range 4 {
		c, f := s.faulty(t)
		f.Random(uint64(w), 0.3, networkFaults...)
		all.Go(func() {
			for i := range rounds {
				p := c.insist(mutex(name))
				if (i+w)%3 == 0 {
					c.engine.Line(c.ctx, name)
					p.cancel()
				}
				<-p.done
				if p.err == nil {
					h.add(believe(p), true)
				}
				c.end(f, p.claim)
			}
		})
	}
	all.Wait()
	for _, fault := range overlaps(h.beliefs) {
		t.Errorf("%s", fault)
	}
	if least := 4 * rounds / 3; len(h.beliefs) < least {
		t.Errorf("%d grants, want %d at least", len(h.beliefs), least)
	}
	watcher.wantLine("in the end", name, claimIDs{}, claimIDs{})
}
