package enginetest

import (
	"context"
	"errors"
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

var lineChecks = []check{
	{rule: "an unused name has an empty line and no error", run: unusedLine},
	{rule: "a line shows holders and waiters in order", needs: needFIFO, run: lineInOrder},
	{rule: "holders stay in the order of their grants, whoever renews", needs: needFIFO, run: holdersInOrder},
	{rule: "WatchLine begins with the line now", run: watchLineNow},
	{rule: "WatchLine shows the newest line after any changes", run: watchLineNewest},
	{rule: "WatchLine shows every term", needs: needEveryTerm, run: watchLineEveryTerm},
	{rule: "WatchLine sees an unused name taken and left", run: watchLineOfUnused},
	{rule: "WatchLine ends with its context's error", run: watchLineEnds},
	{rule: "Remove ends a claim and lets the next in", run: removeLetsNextIn},
	{rule: "Remove of nothing is no error and touches nothing", run: removeOfNothing},
	{rule: "reading a line changes nothing", run: readingChangesNothing},
}

func holdersInOrder(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	var want []engine.ClaimID
	for range 3 {
		for _, c := range []*client{a, b} {
			cl := semaphore(name, 1, 6)
			c.acquire(cl)
			want = append(want, cl.ID)
		}
	}
	a.renew()
	if l := b.line(name); !slices.Equal(ids(l.Holders), want) {
		t.Errorf("after a renewal of some the line is %s", showLine(l))
	}
}

func unusedLine(t TB, s *suite) {
	a := s.client(t)
	name := a.name()
	if l := a.line(name); l.Name != name || l.Kind != 0 || len(l.Holders)+len(l.Waiters) > 0 {
		t.Errorf("%+v", l)
	}
}

func lineInOrder(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held := mutex(name)
	a.acquire(held)
	var want []engine.ClaimID
	for i := range 5 {
		want = append(want, []*client{a, b}[i%2].enqueue(mutex(name)).claim.ID)
	}
	for _, c := range []*client{a, b, s.client(t)} {
		l := c.line(name)
		if l.Name != name || !kindIs(l, held) ||
			!slices.Equal(ids(l.Holders), []engine.ClaimID{held.ID}) || !slices.Equal(ids(l.Waiters), want) {
			t.Errorf("%v of %d: %s, want %v waiting", l.Kind, l.Limit, showLine(l), want)
		}
		for _, p := range slices.Concat(l.Holders, l.Waiters) {
			if p.Age < 0 || p.Shares != 1 || p.Foreign {
				t.Errorf("%+v", p)
			}
		}
	}
}

// watchLine hands on what WatchLine yields until the check ends; each line is
// taken before the next is asked for.
func (c *client) watchLine(name string) (lines <-chan engine.Line) {
	out := make(chan engine.Line)
	c.attempts.Go(func() {
		defer close(out)
		for l, err := range c.engine.WatchLine(c.ctx, name) {
			if err != nil {
				if c.ctx.Err() == nil {
					c.Errorf("WatchLine: %v", err)
				}
				return
			}
			select {
			case out <- l:
			case <-c.ctx.Done():
				return
			}
		}
	})
	return out
}

// until takes lines until one is right.
func (c *client) until(lines <-chan engine.Line, what string, ok func(engine.Line) bool) {
	c.Helper()
	var last engine.Line
	for l := range lines {
		if last = l; ok(l) {
			return
		}
	}
	c.Fatalf("WatchLine never showed %s; its last was %s", what, showLine(last))
}

func watchLineNow(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	a.acquire(mutex(name))
	a.enqueue(mutex(name))
	l, ok := <-b.watchLine(name)
	if !ok || len(l.Holders) != 1 || len(l.Waiters) != 1 {
		t.Errorf("the first line is %s, want the one that is", showLine(l))
	}
}

func watchLineNewest(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	lines := b.watchLine(name)
	<-lines
	for range 10 {
		cl := mutex(name)
		a.acquire(cl)
		a.release(cl)
	}
	last := mutex(name)
	a.acquire(last)
	b.until(lines, "the last holder", func(l engine.Line) bool { return has(l.Holders, last.ID) })
	if err := a.session.SetNote(a.ctx, last, []byte("new")); err != nil {
		t.Fatalf("SetNote: %v", err)
	}
	b.until(lines, "the new note", func(l engine.Line) bool { return string(l.Holders[0].Note) == "new" })
}

func watchLineEveryTerm(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	lines := b.watchLine(name)
	<-lines
	var want, got []engine.ClaimID
	for range 20 {
		cl := mutex(name)
		want = append(want, cl.ID)
		a.acquire(cl)
		a.release(cl)
	}
	b.until(lines, "the last holder", func(l engine.Line) bool {
		if len(l.Holders) == 1 && !slices.Contains(got, l.Holders[0].ID) {
			got = append(got, l.Holders[0].ID)
		}
		return has(l.Holders, want[len(want)-1])
	})
	if !slices.Equal(got, want) {
		t.Errorf("WatchLine showed %d of %d holders, or not in order", len(got), len(want))
	}
}

func watchLineOfUnused(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	lines := b.watchLine(name)
	if l := <-lines; len(l.Holders) > 0 {
		t.Fatalf("%s", showLine(l))
	}
	cl := mutex(name)
	a.acquire(cl)
	b.until(lines, "the holder", func(l engine.Line) bool { return has(l.Holders, cl.ID) })
	a.release(cl)
	b.until(lines, "that nobody is there", func(l engine.Line) bool { return len(l.Holders) == 0 })
}

func watchLineEnds(t TB, s *suite) {
	a := s.client(t)
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	var last error
	for _, err := range a.engine.WatchLine(ctx, a.name()) {
		last = err
		cancel()
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("WatchLine ended with %v, want context.Canceled", a.cause(last))
	}
}

func removeLetsNextIn(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held := mutex(name)
	a.acquire(held)
	next, last := b.enqueue(mutex(name)), a.enqueue(mutex(name))
	for range 2 {
		if err := b.engine.Remove(b.ctx, name, held.ID); err != nil {
			t.Fatalf("Remove: %v", err)
		}
	}
	next.granted()
	last.waits()
	if removed, err := a.session.Release(a.ctx, held); removed || err != nil {
		t.Errorf("Release of what was removed: removed %v, %v", removed, err)
	}
}

func removeOfNothing(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	held := mutex(name)
	a.acquire(held)
	waiter := a.enqueue(mutex(name))
	for _, n := range []string{name, b.name()} {
		if err := b.engine.Remove(b.ctx, n, newID()); err != nil {
			t.Errorf("Remove: %v", err)
		}
	}
	if l := b.line(name); !has(l.Holders, held.ID) {
		t.Errorf("Remove of another id: %s (S3)", showLine(l))
	}
	waiter.waits()
}

func readingChangesNothing(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	a.acquire(mutex(name))
	l := b.line(name)
	l.Holders[0] = engine.Place{}
	if l := b.line(name); len(l.Holders) != 1 || l.Holders[0].ID == "" {
		t.Errorf("writing over what Line returned changed the line: %s", showLine(l))
	}
}
