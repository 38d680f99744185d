package enginetest

import (
	"math/rand/v2"

	"github.com/lockstep-go/lockstep/engine"
)

var sharesChecks = []check{
	{rule: "any sequence grants what the model grants", needs: needFIFO | needSemaphore, run: anySequence},
	{rule: "any sequence of readers and writers does too", needs: needFIFO | needReadWrite, run: anyReadWriteSequence},
	{rule: "a light claim waits behind a heavy one", needs: needFIFO | needSemaphore, run: lightBehindHeavy},
	{rule: "a heavy waiter that leaves lets in those behind it", needs: needFIFO | needSemaphore, run: heavyLeaves},
	{rule: "one release lets in all that fit", needs: needSemaphore, run: releaseLetsInAllThatFit},
	{rule: "a limit is never exceeded and fully used", needs: needSemaphore, run: limitIsExact},
	{rule: "a group has room for everybody", needs: needGroup, run: groupHasRoom},
}

func anySequence(t TB, s *suite) {
	const limit = 5
	for seed := range uint64(2) {
		r := rand.New(rand.NewPCG(seed, 1))
		runSequence(t, s, r, seed, limit, func(name string) *engine.Claim {
			return semaphore(name, 1+r.IntN(limit), limit)
		})
	}
}

func anyReadWriteSequence(t TB, s *suite) {
	r := rand.New(rand.NewPCG(3, 2))
	runSequence(t, s, r, 3, engine.Unlimited, func(name string) *engine.Claim {
		if r.IntN(3) == 0 {
			return writer(name)
		}
		return reader(name)
	})
}

// runSequence enters and ends claims at random. After each step the line must
// become the model's, those it grants must hear of it, and later grants must
// have greater tokens.
func runSequence(t TB, s *suite, r *rand.Rand, seed uint64, limit int, next func(string) *engine.Claim) {
	t.Helper()
	clients := []*client{s.client(t), s.client(t)}
	name := clients[0].name()
	m := &model{limit: limit}
	attempts := make(map[*engine.Claim]*pending)
	counted := make(map[*engine.Claim]bool)
	var last engine.Token
	for step := range 40 {
		all := m.all()
		if len(all) == 0 || (len(all) < 9 && r.IntN(5) < 3) {
			cl := next(name)
			m.enter(cl)
			attempts[cl] = clients[r.IntN(2)].begin(cl, false)
		} else {
			cl := all[r.IntN(len(all))]
			m.leave(cl)
			p := attempts[cl]
			delete(attempts, cl)
			p.cancel()
			p.returned()
			p.release(cl)
		}
		if l := clients[0].await(name, "the model's line", m.matches); l.Kind != 0 && l.Limit != limit {
			t.Fatalf("seed %d step %d: the line's limit is %d, want %d", seed, step, l.Limit, limit)
		}
		for _, cl := range m.holders { // in the order of their grants
			p := attempts[cl]
			token := p.granted().Token
			if !counted[cl] && token <= last {
				t.Fatalf("seed %d step %d: token %d was granted after %d (S2)", seed, step, token, last)
			}
			counted[cl] = true
			last = max(last, token)
		}
		for _, cl := range m.waiters {
			attempts[cl].waits()
		}
	}
}

func lightBehindHeavy(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	h1, h2 := semaphore(name, 1, 3), semaphore(name, 1, 3)
	a.acquire(h1)
	a.acquire(h2)
	heavy, light := b.enqueue(semaphore(name, 3, 3)), a.enqueue(semaphore(name, 1, 3))
	a.release(h1)
	heavy.waits()
	light.waits()
	a.release(h2)
	heavy.granted()
	light.waits()
	b.release(heavy.claim)
	light.granted()
}

func heavyLeaves(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	a.acquire(semaphore(name, 1, 3))
	heavy := b.enqueue(semaphore(name, 3, 3))
	one, two, three := a.enqueue(semaphore(name, 1, 3)), b.enqueue(semaphore(name, 1, 3)), a.enqueue(semaphore(name, 1, 3))
	heavy.leave()
	one.granted()
	two.granted()
	three.waits()
}

func releaseLetsInAllThatFit(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	h := semaphore(name, 2, 2)
	a.acquire(h)
	x, y, z := b.enqueue(semaphore(name, 1, 2)), a.enqueue(semaphore(name, 1, 2)), b.enqueue(semaphore(name, 1, 2))
	a.release(h)
	l := a.await(name, "two holders", func(l engine.Line) bool { return len(l.Holders) == 2 })
	if len(l.Waiters) != 1 {
		t.Fatalf("%s, want one waiter", showLine(l))
	}
	for _, p := range []*pending{x, y, z} {
		if has(l.Holders, p.claim.ID) {
			p.granted()
		} else {
			p.waits()
		}
	}
}

func limitIsExact(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	var held []*engine.Claim
	for i := range 4 {
		cl := semaphore(name, 1, 4)
		[]*client{a, b}[i%2].acquire(cl)
		held = append(held, cl)
	}
	over := b.enqueue(semaphore(name, 1, 4))
	over.waits()
	a.release(held[0])
	over.granted()
	l := a.line(name)
	if len(l.Holders) != 4 || !kindIs(l, over.claim) {
		t.Errorf("%v of limit %d: %s, want 4 holders of 4", l.Kind, l.Limit, showLine(l))
	}
}

func groupHasRoom(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	for i := range 20 {
		[]*client{a, b}[i%2].acquire(claim(name, engine.Group, 1, engine.Unlimited))
	}
	if l := a.line(name); len(l.Holders) != 20 || len(l.Waiters) != 0 {
		t.Errorf("%s, want 20 holders", showLine(l))
	}
}
