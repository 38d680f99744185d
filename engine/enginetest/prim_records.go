package enginetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
)

// What is kept in records: counter, latch, once, ballot and ticks. Each is a few
// callers on networks of their own, each of which loses and repeats what it likes.

var counterChecks = []check{
	{rule: "whatever happens to additions, each is made once", needs: needStore, run: additions},
	{rule: "additions with one id are one, whoever asks", needs: needStore, run: additionsWithOneID},
}

var latchChecks = []check{
	{rule: "whatever happens to those who count down, it opens once at zero for all", needs: needStore, run: latchOpens},
}

var onceChecks = []check{
	{rule: "one of many runs, and all get its result", needs: needStore, run: onceForAll},
	{rule: "whatever happens to its calls, a run records its result", needs: needStore, run: onceOnBadNetwork},
	{rule: "a runner whose session ends is replaced, and its late result is not recorded", needs: needStore, run: onceReplaced},
}

var ballotChecks = []check{
	{rule: "whatever happens to votes, each counts once and all see one decision", needs: needStore, run: oneDecision},
	{rule: "the deadline closes a vote for all", needs: needStore, run: deadlineForAll},
}

var ticksChecks = []check{
	{rule: "whatever happens to those who ask, a tick has one taker", needs: needStore, run: oneTaker},
}

// recordFaults are those of calls that do not wait.
var recordFaults = commitFaults

// shaky is clients of the core on networks that lose and repeat a third of all,
// once they have a session: Begin is not repeated.
func (c *client) shaky(n int) []*lockstep.Client {
	c.Helper()
	clients := make([]*lockstep.Client, n)
	for i := range clients {
		lc, f := c.suite.coreClient(c, coreTTL)
		c.unlock(c.lock(lc, c.name()))
		f.Random(uint64(i), 0.33, recordFaults...)
		clients[i] = lc
	}
	return clients
}

// atOnce runs f for each client at one time.
func atOnce(clients []*lockstep.Client, f func(i int, c *lockstep.Client)) {
	var all sync.WaitGroup
	for i, c := range clients {
		all.Go(func() { f(i, c) })
	}
	all.Wait()
}

// ok says whether a call succeeded, and tells where not.
func (c *client) ok(what string, err error) bool {
	c.Helper()
	if err != nil {
		c.Errorf("%s: %v", what, c.cause(err))
	}
	return err == nil
}

func additions(t TB, s *suite) {
	const clients, each = 3, 8
	a := s.client(t)
	name := a.name()
	atOnce(a.shaky(clients), func(_ int, c *lockstep.Client) {
		for range each {
			if _, err := c.Counter(name).Add(a.ctx, 2); !a.ok("Add", err) {
				return
			}
		}
	})
	lc, _ := s.coreClient(t, coreTTL)
	if n, err := lc.Counter(name).Get(a.ctx); err != nil || n != 2*clients*each {
		t.Errorf("%d additions of 2 make %d, %v (S4)", clients*each, n, err)
	}
}

func additionsWithOneID(t TB, s *suite) {
	a := s.client(t)
	name, id := a.name(), string(newID())
	atOnce(a.shaky(3), func(_ int, c *lockstep.Client) {
		for range 3 {
			a.ok("AddAs", c.Counter(name).AddAs(a.ctx, id, 5))
		}
		_, err := c.Counter(name).Add(a.ctx, 1)
		a.ok("Add", err)
	})
	lc, _ := s.coreClient(t, coreTTL)
	if n, err := lc.Counter(name).Get(a.ctx); err != nil || n != 8 {
		t.Errorf("the counter is %d, %v; want 5 once and 1 three times", n, err)
	}
}

func latchOpens(t TB, s *suite) {
	const clients, each = 3, 4
	a := s.client(t)
	name := a.name()
	latch := func(c *lockstep.Client) *lockstep.Latch { return c.Latch(name, clients*each) }
	watchers := a.shaky(2)
	lc, _ := s.coreClient(t, coreTTL)
	var open sync.WaitGroup
	for _, c := range watchers {
		open.Go(func() {
			if !a.ok("Wait", latch(c).Wait(a.ctx)) {
				return
			}
			if left, err := latch(lc).Left(a.ctx); err != nil || left != 0 {
				t.Errorf("open, with %d left, %v", left, err)
			}
		})
	}
	atOnce(a.shaky(clients), func(_ int, c *lockstep.Client) {
		for range each - 1 {
			_, err := latch(c).CountDown(a.ctx)
			a.ok("CountDown", err)
		}
	})
	if left, err := latch(lc).Left(a.ctx); err != nil || left != clients {
		t.Errorf("%d left, %v; want %d", left, err, clients)
	}
	for range clients {
		_, err := latch(lc).CountDown(a.ctx)
		a.ok("CountDown", err)
	}
	open.Wait()
}

func onceForAll(t TB, s *suite) {
	a := s.client(t)
	name := a.name()
	var mu sync.Mutex
	runs := 0
	clients := make([]*lockstep.Client, 4)
	for i := range clients {
		clients[i], _ = s.coreClient(t, coreTTL)
	}
	atOnce(clients, func(_ int, c *lockstep.Client) {
		r, err := c.Once(name).Do(a.ctx, func(context.Context) ([]byte, error) {
			mu.Lock()
			defer mu.Unlock()
			runs++
			return []byte("result"), nil
		})
		if err != nil || string(r) != "result" {
			t.Errorf("Do: %q, %v", r, a.cause(err))
		}
	})
	if runs != 1 {
		t.Errorf("%d runs", runs)
	}
}

func onceOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	lc, _ := s.coreClient(t, coreTTL)
	for _, call := range []Call{Get, Acquire, Commit, Release} {
		for _, fault := range recordFaults {
			name := a.name()
			c, f := s.coreClient(t, coreTTL)
			for nth := range 3 {
				f.On(call, nth+1, fault)
			}
			// What was sent twice may be answered as a claim that is gone.
			twice := func(err error) bool { return call == Release && fault == Twice && errors.Is(err, lockstep.ErrLost) }
			r, err := c.Once(name).Do(a.ctx, func(context.Context) ([]byte, error) { return []byte("result"), nil })
			if !twice(err) && (err != nil || string(r) != "result") {
				t.Errorf("%s, %v: Do: %q, %v", call, fault, r, a.cause(err))
			}
			if r, err := lc.Once(name).Get(a.ctx); err != nil || string(r) != "result" {
				t.Errorf("%s, %v: recorded %q, %v", call, fault, r, err)
			}
			f.Arrived()
		}
	}
}

func onceReplaced(t TB, s *suite) {
	a := s.client(t)
	name := a.name()
	first, f := s.coreClient(t, 2*time.Second)
	second, _ := s.coreClient(t, coreTTL)
	running, resume, lost := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	a.attempts.Go(func() {
		_, err := first.Once(name).Do(a.ctx, func(ctx context.Context) ([]byte, error) {
			f.On(Renew, 1, SessionEnds)
			close(running)
			select {
			case <-resume: // it does not look at its own context
			case <-a.ctx.Done():
			}
			return []byte("early"), nil
		})
		lost <- err
	})
	select {
	case <-running:
	case <-a.ctx.Done():
		t.Fatalf("the first never runs: %v", context.Cause(a.ctx))
	}
	r, err := second.Once(name).Do(a.ctx, func(context.Context) ([]byte, error) {
		close(resume)
		is(t, "the first run", <-lost, lockstep.ErrLost)
		return []byte("later"), nil
	})
	if err != nil || string(r) != "later" {
		t.Errorf("Do: %q, %v", r, a.cause(err))
	}
	if r, err := first.Once(name).Get(a.ctx); err != nil || string(r) != "later" {
		t.Errorf("recorded %q, %v", r, err)
	}
}

func oneDecision(t TB, s *suite) {
	const voters = 5
	a := s.client(t)
	for _, rule := range []lockstep.Rule{lockstep.RuleMajority, lockstep.RuleAll, lockstep.RuleFirst} {
		name := a.name()
		var mu sync.Mutex
		var all []lockstep.Decision
		atOnce(a.shaky(voters), func(i int, c *lockstep.Client) {
			b := c.Ballot(name, lockstep.AnyVoters(voters)).Rule(rule)
			mine := []string{"yes", "no"}[i%2]
			for _, says := range []string{mine, "something else"} {
				if counts, err := b.Vote(a.ctx, fmt.Sprint(i), says); err != nil || counts != mine {
					t.Errorf("%s: Vote: %q counts, %v; want the first, %q", rule, counts, a.cause(err), mine)
				}
			}
			d, err := b.Decision(a.ctx)
			a.ok("Decision", err)
			mu.Lock()
			defer mu.Unlock()
			all = append(all, d)
		})
		for _, d := range all {
			if d.Carried != all[0].Carried || d.Choice != all[0].Choice {
				t.Errorf("%s: decisions %+v and %+v", rule, all[0], d)
			}
		}
		if d := all[0]; rule == lockstep.RuleMajority && d.Choice != "yes" || rule == lockstep.RuleAll && d.Carried ||
			rule == lockstep.RuleFirst && !d.Carried {
			t.Errorf("%s: %+v", rule, d)
		}
	}
}

func deadlineForAll(t TB, s *suite) {
	a := s.client(t)
	name := a.name()
	carried := make([]bool, 3)
	atOnce(a.shaky(len(carried)), func(i int, c *lockstep.Client) {
		b := c.Ballot(name, lockstep.AnyVoters(5)).Deadline(time.Duration(i+1) * 50 * time.Millisecond)
		_, err := b.Vote(a.ctx, fmt.Sprint(i), "yes")
		if a.ok("Vote", err) {
			d, err := b.Decision(a.ctx)
			a.ok("Decision", err)
			carried[i] = d.Carried
		}
	})
	lc, _ := s.coreClient(t, coreTTL)
	d, err := lc.Ballot(name, lockstep.AnyVoters(5)).Decision(a.ctx)
	a.ok("Decision", err)
	for _, c := range carried { // three votes in time are a majority
		if c != d.Carried {
			t.Errorf("carried: %v, and later %v", carried, d.Carried)
		}
	}
}

func oneTaker(t TB, s *suite) {
	const clients, ticks = 3, 6
	a := s.client(t)
	name := a.name()
	start := time.Now()
	var mu sync.Mutex
	takers := map[int]int{}
	atOnce(a.shaky(clients), func(_ int, c *lockstep.Client) {
		for i := range ticks {
			mine, err := c.Ticks(name).Take(a.ctx, start.Add(time.Duration(i)*time.Second))
			if a.ok("Take", err); mine {
				mu.Lock()
				takers[i]++
				mu.Unlock()
			}
		}
	})
	for i := range ticks {
		if takers[i] != 1 {
			t.Errorf("tick %d has %d takers", i, takers[i])
		}
	}
}
