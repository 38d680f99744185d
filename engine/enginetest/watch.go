package enginetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"

	"github.com/lockstep-go/lockstep/engine"
)

var watchChecks = []check{
	{rule: "a watch from 0 begins with the whole map", needs: needStore, run: watchBeginsFull},
	{rule: "a watch of an unused map begins with an empty one", needs: needStore, run: watchUnused},
	{rule: "a watch shows each commit once and in order, deletes too", needs: needStore | needEveryChange, run: watchEveryCommit},
	{rule: "a watch from a revision shows what came later and only that", needs: needStore | needEveryChange, run: watchFromRevision},
	{rule: "a watch shows one event a commit", needs: needStore | needEveryChange, run: watchOneEventACommit},
	{rule: "the last state of every key arrives, deletes too", needs: needStore, run: watchLastState},
	{rule: "what is listed and then watched is never behind", needs: needStore, run: listThenWatch},
	{rule: "a watch shows its own map only", needs: needStore, run: watchOwnMap},
	{rule: "every watcher sees everything", needs: needStore, run: manyWatchers},
	{rule: "a quiet watch says that it is still current", needs: needStore, run: quietWatch},
	{rule: "a watch ends with its context's error", needs: needStore, run: watchEnds},
	{rule: "what a watch yields is its consumer's", needs: needStore, run: watchIsCopied},
}

// watch hands on the events of a watch until the check ends, without those that
// only say "still current". It checks the order that every watch keeps (S9).
func (c *client) watch(m string, after engine.Revision) <-chan engine.Event {
	out := make(chan engine.Event)
	c.attempts.Go(func() {
		defer close(out)
		first, last, written := true, after, make(map[string]engine.Revision)
		for ev, err := range c.engine.Store().Watch(c.ctx, m, after) {
			if err != nil {
				if c.ctx.Err() == nil {
					c.Errorf("Watch: %v", err)
				}
				return
			}
			if !ev.Full && len(ev.Entries) == 0 {
				continue
			}
			if !first && ev.Revision <= last || first && !ev.Full && ev.Revision <= after {
				c.Errorf("the watch shows revision %d after %d (S9)", ev.Revision, last)
			}
			c.checkEntries(ev, written)
			first, last = false, ev.Revision
			select {
			case out <- ev:
			case <-c.ctx.Done():
				return
			}
		}
	})
	return out
}

// checkEntries compares an event's entries with its own revision, and deletions
// with what they delete.
func (c *client) checkEntries(ev engine.Event, written map[string]engine.Revision) {
	for _, e := range ev.Entries {
		if exact := c.suite.info.EveryChange; exact && (e.Revision > ev.Revision || !ev.Full && e.Revision != ev.Revision) {
			c.Errorf("an event of revision %d (full %v) has an entry of %d", ev.Revision, ev.Full, e.Revision)
		}
		if e.Deleted && e.Revision <= written[e.Key] {
			c.Errorf("key %q was deleted at revision %d, and written at %d", e.Key, e.Revision, written[e.Key])
		}
		written[e.Key] = e.Revision
	}
}

// next is the next event; none is the end of the check.
func (c *client) next(events <-chan engine.Event) engine.Event {
	c.Helper()
	ev, ok := <-events
	if !ok {
		c.Fatalf("the watch ended: %v", context.Cause(c.ctx))
	}
	return ev
}

// replica is a map as a watcher knows it.
type replica map[string]string

func (r replica) apply(ev engine.Event) {
	if ev.Full {
		clear(r)
	}
	for _, e := range ev.Entries {
		if e.Deleted {
			delete(r, e.Key)
		} else {
			r[e.Key] = string(e.Value)
		}
	}
}

// follow applies events until the replica is as it should be.
func (c *client) follow(r replica, events <-chan engine.Event, want replica) {
	c.Helper()
	for !maps.Equal(r, want) {
		ev, ok := <-events
		if !ok {
			c.Fatalf("the watcher knows %v, the map is %v: %v", r, want, context.Cause(c.ctx))
		}
		r.apply(ev)
	}
}

func watchBeginsFull(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	a.commit(m, put("b", "1"), put("a", "1"))
	a.commit(m, put("a", "2"), put("gone", ""))
	last := a.commit(m, del("gone"))
	ev := b.next(b.watch(m, 0))
	if !ev.Full || contents(ev.Entries) != `"a"="2" "b"="1"` || (s.info.EveryChange && ev.Revision < last) {
		t.Errorf("the first event: full %v at %d of %d: %s", ev.Full, ev.Revision, last, contents(ev.Entries))
	}
}

func watchUnused(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	events := b.watch(m, 0)
	if ev := b.next(events); !ev.Full || len(ev.Entries) != 0 {
		t.Errorf("the first event of an unused map: full %v, %s", ev.Full, contents(ev.Entries))
	}
	a.commit(m, put("k", "v"))
	b.follow(replica{}, events, replica{"k": "v"})
}

func watchEveryCommit(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	events := b.watch(m, 0)
	b.next(events)
	for i := range 5 {
		for _, change := range []engine.Entry{put("k", fmt.Sprint(i)), put("k", "again"), del("k")} {
			r := a.commit(m, change)
			ev := b.next(events)
			if ev.Full || ev.Revision != r || contents(ev.Entries) != contents([]engine.Entry{change}) {
				t.Fatalf("commit %d %s was shown as %d (full %v) %s", r, contents([]engine.Entry{change}), ev.Revision, ev.Full, contents(ev.Entries))
			}
		}
	}
}

func watchFromRevision(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	var revisions []engine.Revision
	for i := range 10 {
		change := put(fmt.Sprint(i), "")
		if i%3 == 2 {
			change = del(fmt.Sprint(i - 1))
		}
		revisions = append(revisions, a.commit(m, change))
	}
	for _, from := range []int{0, 4, 8} {
		events := b.watch(m, revisions[from])
		for _, want := range revisions[from+1:] {
			if ev := b.next(events); ev.Full || ev.Revision != want {
				t.Fatalf("from %d: shown %d (full %v), want %d", revisions[from], ev.Revision, ev.Full, want)
			}
		}
	}
}

func watchOneEventACommit(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	a.commit(m, put("gone", ""))
	events := b.watch(m, 0)
	b.next(events)
	a.commit(m, put("x", "1"), del("gone"), put("y", "1"), del("never there"))
	ev := b.next(events)
	got := replica{}
	for _, e := range ev.Entries {
		got[e.Key] = fmt.Sprint(e.Deleted)
	}
	if want := (replica{"x": "false", "y": "false", "gone": "true"}); ev.Full || !maps.Equal(got, want) {
		t.Errorf("one commit was shown as %s", contents(ev.Entries))
	}
}

// watchLastState has several writers go over the same keys while it is watched.
func watchLastState(t TB, s *suite) {
	b := s.client(t)
	m := b.name()
	events := b.watch(m, 0)
	var writers sync.WaitGroup
	for w := range 3 {
		c := s.client(t)
		writers.Go(func() {
			for i := range 15 {
				change := put(fmt.Sprint((i+w)%4), fmt.Sprint(w, i))
				if i%3 == 2 {
					change = del(fmt.Sprint((i + w) % 4))
				}
				if _, err := c.engine.Store().Commit(c.ctx, m, engine.Tx{Put: []engine.Entry{change}}); err != nil {
					t.Errorf("Commit: %v", c.cause(err))
				}
			}
		})
	}
	known := replica{}
	known.apply(b.next(events))
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for waiting := true; waiting; {
		select {
		case ev, ok := <-events:
			if !ok {
				t.Fatalf("the watch ended: %v", context.Cause(b.ctx))
			}
			known.apply(ev)
		case <-done:
			waiting = false
		}
	}
	last := replica{}
	b.commit(m, put("last", ""), put("0", ""))
	b.commit(m, del("0"))
	last.apply(b.list(m))
	b.follow(known, events, last)
}

func listThenWatch(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	a.commit(m, put("k", "1"), put("gone", "1"))
	listed := b.list(m)
	a.commit(m, put("k", "2"), del("gone"))
	known := replica{}
	known.apply(listed)
	b.follow(known, b.watch(m, listed.Revision), replica{"k": "2"})
}

func watchOwnMap(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	events := b.watch(m, 0)
	b.next(events)
	for _, other := range []string{m + "-longer", a.name()} {
		a.commit(other, put("k", "other"))
	}
	a.commit(m, put("k", "own"))
	if ev := b.next(events); len(ev.Entries) != 1 || string(ev.Entries[0].Value) != "own" {
		t.Errorf("the watch shows %s", contents(ev.Entries))
	}
}

func manyWatchers(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	var watches []<-chan engine.Event
	for i := range 8 {
		watches = append(watches, []*client{a, b}[i%2].watch(m, 0))
	}
	for _, events := range watches {
		b.next(events)
	}
	a.commit(m, put("k", "v"))
	for _, events := range watches {
		b.follow(replica{}, events, replica{"k": "v"})
	}
}

// quietWatch waits for what comes every engine.Stale/3 while nothing changes.
func quietWatch(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	a.commit(m, put("k", "v"))
	var full engine.Event
	for ev, err := range a.engine.Store().Watch(a.ctx, m, 0) {
		if err != nil {
			t.Fatalf("Watch: %v", a.cause(err))
		}
		if ev.Full {
			full = ev
			continue
		}
		if len(ev.Entries) > 0 || ev.Revision != full.Revision {
			t.Errorf("nothing changed after revision %d, and the watch shows %s at %d", full.Revision, contents(ev.Entries), ev.Revision)
		}
		return
	}
	t.Errorf("a quiet watch said nothing: %v", context.Cause(a.ctx))
}

func watchEnds(t TB, s *suite) {
	a := s.client(t)
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	var last error
	for _, err := range a.engine.Store().Watch(ctx, a.name(), 0) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("Watch ended with %v, want context.Canceled", a.cause(last))
	}
}

func watchIsCopied(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	first, second := b.watch(m, 0), b.watch(m, 0)
	b.next(first)
	b.next(second)
	a.commit(m, put("k", "value"))
	b.next(first).Entries[0].Value[0] = 'X'
	if ev := b.next(second); string(ev.Entries[0].Value) != "value" {
		t.Errorf("another watcher sees %q", ev.Entries[0].Value)
	}
	a.wantList(m, `"k"="value"`)
}
