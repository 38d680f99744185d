package memengine

import (
	"slices"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// line is a name's claims in order, the holders first. It is never empty: a name
// that nobody uses has no line (S12).
type line struct {
	kind   engine.Kind
	limit  int
	claims []*claim
}

// claim is one place in a line, from Acquire until its Release or its end.
type claim struct {
	id      engine.ClaimID
	name    string
	shares  int
	term    time.Duration
	note    []byte
	entered time.Time

	session *Session  // nil: it belongs to none, as a granted one with a term
	missing time.Time // of the first Renew in a row that did not list it

	token   engine.Token // 0: it waits
	granted time.Time
	until   time.Time // zero: as long as its session
	timer   *time.Timer
	gone    bool
	told    chan struct{} // closed when it stops waiting: granted or gone
}

func (c *claim) waits() bool { return c.token == 0 }

// fitting is the rule (S7): how many claims from the front of a line hold. An
// earlier claim that does not fit keeps later ones waiting, or a heavy one would
// starve. It grows only while claims leave, so a grant is never taken back, and
// it needs no state but the line itself.
func fitting(limit int, claims []*claim) int {
	for i, c := range claims {
		if c.shares > limit {
			return i
		}
		limit -= c.shares
	}
	return len(claims)
}

// holders is how many claims have been granted; they are a prefix of the line.
func (l *line) holders() int {
	n := slices.IndexFunc(l.claims, (*claim).waits)
	if n < 0 {
		return len(l.claims)
	}
	return n
}

func (l *line) find(id engine.ClaimID) *claim {
	i := slices.IndexFunc(l.claims, func(c *claim) bool { return c.id == id })
	if i < 0 {
		return nil
	}
	return l.claims[i]
}

// takes says whether a claim that entered now would be granted at once.
func (l *line) takes(c *claim) bool {
	all := append(slices.Clip(l.claims), c)
	return fitting(l.limit, all) == len(all)
}

// show is the line as others see it. A nil line is nobody's.
func (l *line) show(name string, now time.Time) engine.Line {
	shown := engine.Line{Name: name}
	if l == nil {
		return shown
	}
	shown.Kind, shown.Limit = l.kind, l.limit
	for _, c := range l.claims {
		p := engine.Place{ID: c.id, Shares: c.shares, Token: c.token, Note: slices.Clone(c.note)}
		if c.waits() {
			p.Age = now.Sub(c.entered)
			shown.Waiters = append(shown.Waiters, p)
			continue
		}
		p.Age = now.Sub(c.granted)
		shown.Holders = append(shown.Holders, p)
	}
	return shown
}
