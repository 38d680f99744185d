package redisengine

import (
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/clockshim"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// Grants within one microsecond, and after a backward step of the clock, are
// counted on from the last.
func TestTokensRiseThoughTheClockStandsStill(t *testing.T) {
	shim := clockshim.Build(t)
	server := redistest.StartWith(t, redistest.Options{Env: shim.Env()})
	c := newClient(t, server)
	var last engine.Token
	for i := range 20 {
		cl := mutex("n")
		g := c.take(cl)
		if g.Token <= last {
			t.Errorf("grant %d: token %d after %d (S2)", i, g.Token, last)
		}
		last = g.Token
		c.give(cl)
		if i%5 == 0 {
			shim.Step(-time.Minute)
		}
	}
}

// A stepped clock between the last answer and a push: the waiter asks back, and is
// granted what the server then vouches for.
func TestAPushAcrossAStepOfTheServersClockIsConfirmed(t *testing.T) {
	for name, step := range map[string]time.Duration{"forward": 30 * time.Second, "back": -30 * time.Second} {
		t.Run(name, func(t *testing.T) {
			shim := clockshim.Build(t)
			server := redistest.StartWith(t, redistest.Options{Env: shim.Env()})
			a := newClient(t, server)
			b := clientOn(t, openOn(t, server, ""), 2*time.Minute)
			warm(a)
			held := mutex("n")
			a.take(held)
			b.listens()
			next := b.queue(mutex("n"))
			before := server.ScriptsRun(t)
			shim.Step(step)
			a.give(held)
			g := next.granted()
			if n := server.ScriptsRun(t) - before; n != 2 {
				t.Errorf("release and grant took %d scripts, want a confirmation beside the release", n)
			}
			left := time.Duration(number(t, server, "PTTL", "n")) * time.Millisecond
			if believed := time.Until(g.Until); believed > left+time.Second {
				t.Errorf("the waiter believes for %v, the server keeps the name for %v (S1)", believed, left)
			}
		})
	}
}
