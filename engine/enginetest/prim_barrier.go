package enginetest

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

var barrierChecks = []check{
	{rule: "whatever happens to those who arrive, nobody goes before all have", needs: needStore | needGroup, run: arriveTogether},
	{rule: "those who entered leave together", needs: needStore | needGroup, run: leaveTogether},
	{rule: "whoever crashes leaves with its session", needs: needStore | needGroup, run: crashAtBarrier},
	{rule: "another number is refused", needs: needStore | needGroup, run: barrierOfAnotherNumber},
}

// barrierName is a barrier's, and its line's at the engine.
func (c *client) barrierName() (name, line string) {
	c.Helper()
	name = c.name()
	line, err := c.engine.CheckName(".barrier." + name)
	if err != nil {
		c.Fatalf("CheckName: %v", err)
	}
	return name, line
}

// holders is a line with so many of them.
func holders(n int) func(engine.Line) bool {
	return func(l engine.Line) bool { return len(l.Holders) == n }
}

func arriveTogether(t TB, s *suite) {
	const n, rounds = 3, 4
	a := s.client(t)
	name, line := a.barrierName()
	var arrived atomic.Int64
	atOnce(a.shaky(n), func(_ int, c *lockstep.Client) {
		for round := range rounds {
			arrived.Add(1)
			if !a.ok("Wait", c.Barrier(name, n).Wait(a.ctx)) {
				return
			}
			if got := arrived.Load(); got < int64((round+1)*n) {
				t.Errorf("through round %d after %d arrivals", round, got)
			}
		}
	})
	a.empty(line)
}

func leaveTogether(t TB, s *suite) {
	const n, phases = 3, 2
	a := s.client(t)
	name, line := a.barrierName()
	var left atomic.Int64
	atOnce(a.shaky(n), func(_ int, c *lockstep.Client) {
		for phase := range phases {
			stay, err := c.Barrier(name, n).Enter(a.ctx)
			if !a.ok("Enter", err) {
				return
			}
			left.Add(1)
			if err := stay.Leave(a.ctx); !a.ok("Leave", err) {
				return
			}
			if got := left.Load(); got < int64((phase+1)*n) {
				t.Errorf("left phase %d after %d were done", phase, got)
			}
		}
	})
	a.empty(line)
}

// crashAtBarrier has one die while it waits, whose place another takes, and one
// inside, for whom nobody waits.
func crashAtBarrier(t TB, s *suite) {
	a := s.client(t)
	name, line := a.barrierName()
	doomed, f := s.coreClient(t, shortTTL)
	first, _ := s.coreClient(t, coreTTL)
	died := make(chan error, 1)
	a.attempts.Go(func() { died <- doomed.Barrier(name, 2).Wait(a.ctx) })
	a.await(line, "somebody at the barrier", holders(1))
	f.Random(1, 1, DropRequest)
	is(t, "the wait of one that lost its session", <-died, lockstep.ErrLost)
	a.await(line, "nobody at the barrier", holders(0))

	f.Heal()
	var all sync.WaitGroup
	enter := func(c *lockstep.Client, inside func(*lockstep.Stay)) {
		all.Go(func() {
			stay, err := c.Barrier(name, 2).Enter(a.ctx)
			if a.ok("Enter", err) {
				inside(stay)
			}
		})
	}
	enter(first, func(stay *lockstep.Stay) { a.ok("Leave", stay.Leave(a.ctx)) })
	enter(doomed, func(stay *lockstep.Stay) {
		f.Random(1, 1, DropRequest)
		select {
		case <-stay.Context().Done():
		case <-a.ctx.Done():
			t.Errorf("the stay never ends: %v", context.Cause(a.ctx))
		}
		is(t, "leaving after the session's end", stay.Leave(a.ctx), lockstep.ErrLost)
	})
	all.Wait()
}

func barrierOfAnotherNumber(t TB, s *suite) {
	a := s.client(t)
	name, line := a.barrierName()
	first, _ := s.coreClient(t, coreTTL)
	other, _ := s.coreClient(t, coreTTL)
	gone := make(chan error, 1)
	a.attempts.Go(func() { gone <- first.Barrier(name, 2).Wait(a.ctx) })
	a.await(line, "somebody at the barrier", holders(1))
	is(t, "a barrier of another number", other.Barrier(name, 3).Wait(a.ctx), lockstep.ErrMismatch)
	a.ok("Wait", other.Barrier(name, 2).Wait(a.ctx))
	a.ok("Wait", <-gone)
}
