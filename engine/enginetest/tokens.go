package enginetest

import (
	"math"

	"github.com/lockstep-go/lockstep/engine"
)

var tokenChecks = []check{
	{rule: "each later grant has a greater token", run: tokensRise},
	{rule: "tokens rise where a session was lost", run: tokensRiseAcrossLoss},
	{rule: "tokens rise where the service lost its data", needs: needForget, alone: true, run: tokensRiseAcrossForget},
	{rule: "a repeated Acquire has no smaller token than its grant", run: tokenOfARepeat},
	{rule: "a line shows the tokens of its holders", run: lineShowsTokens},
	{rule: "tokens of an engine compare where Info says so", run: tokensOfTheEngine},
}

// rising checks tokens in the order of their grants.
type rising struct {
	TB
	last engine.Token
}

func (r *rising) next(what string, g engine.Grant) {
	r.Helper()
	if g.Token <= r.last || g.Token > math.MaxInt64 {
		r.Errorf("%s: token %d after %d (S2)", what, g.Token, r.last)
	}
	r.last = g.Token
}

func tokensRise(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	for _, k := range s.info.Kinds {
		seen := rising{TB: t}
		name := a.name()
		for range 3 { // the line ends and begins anew between them
			first := exclusive(name, k)
			seen.next(k.String()+", free", a.acquire(first))
			if k == engine.Group {
				seen.next("group, beside", b.acquire(exclusive(name, k)))
				a.release(first)
				continue
			}
			second := b.enqueue(exclusive(name, k))
			a.release(first)
			seen.next(k.String()+", handed over", second.granted())
			b.release(second.claim)
		}
	}
}

func tokensRiseAcrossLoss(t TB, s *suite) {
	a, b := s.lapsing(t), s.client(t)
	seen := rising{TB: t}
	name := a.name()
	seen.next("the one that is lost", a.acquire(mutex(name)))
	next := b.enqueue(mutex(name))
	a.lapse()
	seen.next("its successor", next.granted())
}

func tokensRiseAcrossForget(t TB, s *suite) {
	seen := rising{TB: t}
	a := s.client(t)
	name := a.name()
	for range 3 {
		c := s.client(t)
		seen.next("after the loss", c.acquire(mutex(name)))
		s.Forget(t)
	}
}

func tokenOfARepeat(t TB, s *suite) {
	a := s.client(t)
	cl := mutex(a.name())
	g := a.acquire(cl)
	for _, again := range []bool{true, false} {
		repeat, err := a.attempt(a.ctx, cl, again)
		if err != nil || repeat.Token < g.Token {
			t.Errorf("repeated with again=%v: token %d, %v; want %d or later", again, repeat.Token, err, g.Token)
		}
		oneHolder(t, a, cl)
	}
}

func lineShowsTokens(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	name := a.name()
	g := a.acquire(mutex(name))
	b.enqueue(mutex(name))
	l := b.line(name)
	if shown := l.Holders[0].Token; shown != 0 && shown != g.Token {
		t.Errorf("the line shows token %d, the holder has %d", shown, g.Token)
	}
	if shown := l.Waiters[0].Token; shown != 0 {
		t.Errorf("a waiter is shown with token %d", shown)
	}
}

func tokensOfTheEngine(t TB, s *suite) {
	switch s.info.TokenOrder {
	case "name":
		return
	case "engine":
	default:
		t.Fatalf("Info.TokenOrder is %q, want name or engine", s.info.TokenOrder)
	}
	a, b := s.client(t), s.client(t)
	seen := rising{TB: t}
	for i := range 6 {
		seen.next("on another name", []*client{a, b}[i%2].acquire(mutex(a.name())))
	}
}
