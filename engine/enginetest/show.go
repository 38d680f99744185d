package enginetest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// How lines and claims are compared, and shown where a check fails.

func has(places []engine.Place, id engine.ClaimID) bool {
	for _, p := range places {
		if p.ID == id {
			return true
		}
	}
	return false
}

func ids(places []engine.Place) []engine.ClaimID {
	out := []engine.ClaimID{}
	for _, p := range places {
		out = append(out, p.ID)
	}
	return out
}

func show(c *engine.Claim) string {
	return fmt.Sprintf("%s (%v, %d of %d)", short(c.ID), c.Kind, c.Shares, c.Limit)
}

func short(id engine.ClaimID) engine.ClaimID { return id[:min(6, len(id))] }

func showLine(l engine.Line) string {
	var b strings.Builder
	b.WriteString("held by [")
	for _, p := range l.Holders {
		fmt.Fprintf(&b, " %s:%d", short(p.ID), p.Shares)
	}
	b.WriteString(" ], awaited by [")
	for _, p := range l.Waiters {
		fmt.Fprintf(&b, " %s:%d", short(p.ID), p.Shares)
	}
	b.WriteString(" ]")
	return b.String()
}

// is checks an error by its sentinel, and that it is one of the seam's for
// certain where the sentinel is.
func is(t TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}
