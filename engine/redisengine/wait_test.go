package redisengine

import (
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// A push is believed without asking only where the server's clock and ours agree
// on what passed since the last answer.
func TestPushIsBelievedOnlyWhereNoClockStepped(t *testing.T) {
	const life = 8 * time.Second
	sent := time.Now()
	s := seen{sent: sent, at: 1_000_000_000, last: 500}
	after := func(server, here time.Duration, token engine.Token) push {
		return push{token: token, at: s.at + server.Microseconds(), life: life, received: sent.Add(here)}
	}
	for name, c := range map[string]struct {
		push push
		sure bool
	}{
		"two seconds for both":                     {after(2*time.Second, 2*time.Second+time.Millisecond, 501), true},
		"it was on its way for long":               {after(2*time.Second, 3*time.Second, 501), true},
		"the server's clock stepped forward":       {after(32*time.Second, 2*time.Second, 501), false},
		"by less than its life":                    {after(4*time.Second, 2*time.Second, 501), false},
		"the server's clock stepped back":          {after(-28*time.Second, 2*time.Second, 501), false},
		"it is older than the answer (S3)":         {after(time.Second, time.Second, 500), false},
		"it was granted before the answer's place": {after(time.Second, time.Second, 12), false},
	} {
		g, sure := s.trust(c.push)
		if sure != c.sure {
			t.Errorf("%s: believed %v, want %v", name, sure, c.sure)
		}
		if until := c.push.received.Add(life); sure && g.Until.After(until) {
			t.Errorf("%s: believed %v longer than the server said", name, g.Until.Sub(until))
		}
	}
	if _, sure := (seen{}).trust(after(time.Second, time.Second, 501)); sure {
		t.Error("believed before any answer")
	}
}

func TestOnlyTheFirstInLineLooksByItself(t *testing.T) {
	for name, c := range map[string]struct {
		seen        seen
		looks       bool
		least, most time.Duration
	}{
		"behind another":                   {seen{place: 1, left: time.Second}, false, 0, 0},
		"first, behind one of ours":        {seen{left: time.Second}, true, time.Second, time.Second + 10*time.Millisecond},
		"first, behind what does not end":  {seen{left: -1}, false, 0, 0},
		"first, behind a foreign one":      {seen{left: time.Minute, foreign: true}, true, foreignPoll / 2, foreignPoll},
		"first, behind one that never end": {seen{left: -1, foreign: true}, true, foreignPoll / 2, foreignPoll},
		"first, a foreign one ends soon":   {seen{left: time.Millisecond, foreign: true}, true, time.Millisecond, 10 * time.Millisecond},
	} {
		d, looks := c.seen.nextLook()
		if looks != c.looks || looks && (d < c.least || d > c.most) {
			t.Errorf("%s: looks %v, after %v", name, looks, d)
		}
	}
}

func TestNewsReachEveryAcquireOfAClaimAndNobodyWhoLeft(t *testing.T) {
	var r waitRoom
	a, b := r.enter("x"), r.enter("x")
	gone := r.enter("x")
	other := r.enter("y")
	r.leave("x", gone)
	r.tell("x", func(n *news) { n.look = true })
	for _, w := range []*waiting{a, b} {
		if <-w.woken; !w.take().look || w.take().look {
			t.Error("news are told once")
		}
	}
	if other.take().look {
		t.Error("another claim was told")
	}
	r.leave("x", a)
	r.leave("x", b)
	r.leave("y", other)
	if r.has("x") || len(r.claims) > 0 {
		t.Errorf("left behind: %v", r.claims)
	}
	if again := r.enter("z"); len(again.woken) > 0 || again.take() != (news{}) {
		t.Error("an Acquire began with the news of another")
	}
}
