package enginetest

import (
	"fmt"

	"github.com/lockstep-go/lockstep/engine"
)

// What forgets may forget all maps' past: then watches of others meet a gap as well.
var gapChecks = []check{
	{rule: "a watcher behind what the service remembers gets the whole map", needs: needStore | needCompact, alone: true, run: gapAfterCompaction},
	{rule: "a revision that the map has not reached is a gap", needs: needStore, run: gapAheadOfTheMap},
	{rule: "a deletion inside a gap is seen by what is missing", needs: needStore | needCompact, alone: true, run: gapHidesNoDelete},
	{rule: "after a gap changes follow", needs: needStore | needCompact, alone: true, run: changesFollowAGap},
	{rule: "a service that lost its data is a gap", needs: needStore | needForget, alone: true, run: gapAfterForget},
	{rule: "a service that lost its data has no session and no claim", needs: needForget, alone: true, run: forgetEndsSessions},
}

func gapAfterCompaction(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	old := a.commit(m, put("a", "1"))
	a.commit(m, put("b", "1"))
	s.Compact(t, m)
	if ev := b.next(b.watch(m, old)); !ev.Full || contents(ev.Entries) != `"a"="1" "b"="1"` {
		t.Errorf("after a gap: full %v, %s", ev.Full, contents(ev.Entries))
	}
}

func gapAheadOfTheMap(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	now := a.commit(m, put("a", "1"))
	if ev := b.next(b.watch(m, now+1<<40)); !ev.Full || contents(ev.Entries) != `"a"="1"` {
		t.Errorf("ahead of the map: full %v, %s", ev.Full, contents(ev.Entries))
	}
}

func gapHidesNoDelete(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	old := a.commit(m, put("stays", "1"), put("goes", "1"))
	a.commit(m, del("goes"))
	s.Compact(t, m)
	known := replica{"stays": "1", "goes": "1"}
	b.follow(known, b.watch(m, old), replica{"stays": "1"})
}

func changesFollowAGap(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	old := a.commit(m, put("k", "0"))
	a.commit(m, put("k", "1"))
	s.Compact(t, m)
	events := b.watch(m, old)
	known := replica{}
	known.apply(b.next(events))
	for i := range 5 {
		v := fmt.Sprint(i + 2)
		a.commit(m, put("k", v))
		b.follow(known, events, replica{"k": v})
	}
}

func gapAfterForget(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	a.commit(m, put("k", "1"))
	old := a.commit(m, put("lost", "1"))
	s.Forget(t)
	b := s.client(t)
	b.wantList(m, "")
	known := replica{"k": "1", "lost": "1"}
	events := b.watch(m, old)
	b.follow(known, events, replica{})
	b.commit(m, put("k", "2"))
	b.follow(known, events, replica{"k": "2"})
}

func forgetEndsSessions(t TB, s *suite) {
	a := s.client(t)
	held := mutex(a.name())
	a.acquire(held)
	s.Forget(t)
	r, err := a.session.Renew(a.ctx, []*engine.Claim{held})
	if err == nil && len(r.Lost) != 1 {
		t.Errorf("Renew after the loss: %+v, want the claim lost or the session ended", r)
	}
	if err != nil {
		is(t, "Renew after the loss", err, engine.ErrSessionEnded)
	}
	b := s.client(t)
	b.acquire(try(mutex(held.Name)))
}
