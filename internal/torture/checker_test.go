package torture

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
)

// belief is the time in which one holder of a name believed that it held it: from
// when it knew of its grant until it began to give back, or was told of a loss.
type belief struct {
	who        string
	token      lockstep.Token // 0: a foreign client, which has none
	start, end time.Time      // end is zero while it lasts
}

// checker remembers the beliefs about one name.
type checker struct {
	mu  sync.Mutex
	all []*belief
}

// hold notes a belief that begins now; the function ends it. Only its first call
// counts.
func (c *checker) hold(who string, token lockstep.Token) (end func()) {
	b := &belief{who: who, token: token, start: time.Now()}
	c.mu.Lock()
	c.all = append(c.all, b)
	c.mu.Unlock()
	return func() {
		now := time.Now()
		c.mu.Lock()
		defer c.mu.Unlock()
		if b.end.IsZero() {
			b.end = now
		}
	}
}

func (c *checker) len() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.all)
}

// byStart is a copy of all beliefs; those that last end now.
func (c *checker) byStart() []belief {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	all := make([]belief, len(c.all))
	for i, b := range c.all {
		if all[i] = *b; b.end.IsZero() {
			all[i].end = now
		}
	}
	slices.SortFunc(all, func(a, b belief) int { return a.start.Compare(b.start) })
	return all
}

// overlaps is where two believed at one time.
func (c *checker) overlaps() (faults []string) {
	var last belief // whose end is the latest so far
	for _, b := range c.byStart() {
		if b.start.Before(last.end) {
			faults = append(faults, fmt.Sprintf("%s (token %d) held %v before %s (token %d) ended",
				b.who, b.token, last.end.Sub(b.start), last.who, last.token))
		}
		if b.end.After(last.end) {
			last = b
		}
	}
	return faults
}

// tokenFaults is where tokens repeat, or where a holder that came after another
// had ended has none that is greater (S2). It holds also where exclusion does not.
func (c *checker) tokenFaults() (faults []string) {
	all := slices.DeleteFunc(c.byStart(), func(b belief) bool { return b.token == 0 })
	seen := map[lockstep.Token]string{}
	for _, b := range all {
		if who, twice := seen[b.token]; twice {
			faults = append(faults, fmt.Sprintf("%s and %s share token %d", who, b.who, b.token))
		}
		seen[b.token] = b.who
	}
	ended := slices.SortedFunc(slices.Values(all), func(a, b belief) int { return a.end.Compare(b.end) })
	var greatest belief
	for _, b := range all {
		for len(ended) > 0 && ended[0].end.Before(b.start) {
			greatest = slices.MaxFunc([]belief{greatest, ended[0]}, func(a, b belief) int { return cmp.Compare(a.token, b.token) })
			ended = ended[1:]
		}
		if b.token < greatest.token {
			faults = append(faults, fmt.Sprintf("%s has token %d, though %s had %d before", b.who, b.token, greatest.who, greatest.token))
		}
	}
	return faults
}

// check fails the test for whatever is wrong; exclusive says whether two may not
// believe at one time.
func (c *checker) check(t *testing.T, exclusive bool) {
	t.Helper()
	faults := c.tokenFaults()
	if exclusive {
		faults = append(faults, c.overlaps()...)
	}
	for i, f := range faults {
		if i == 10 {
			t.Errorf("… and %d more", len(faults)-i)
			return
		}
		t.Error(f)
	}
}

// A checker that sees nothing is worse than none.
func TestTheCheckerSeesWhatIsWrong(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(1000, 0).Add(time.Duration(ms) * time.Millisecond) }
	history := func(beliefs ...belief) *checker {
		c := &checker{}
		for _, b := range beliefs {
			c.all = append(c.all, &b)
		}
		return c
	}
	right := history(
		belief{"a", 5, at(0), at(10)}, belief{"foreign", 0, at(11), at(20)}, belief{"b", 7, at(21), at(30)}, belief{"c", 8, at(30), at(31)},
	)
	if o, f := right.overlaps(), right.tokenFaults(); len(o)+len(f) > 0 {
		t.Errorf("nothing is wrong here: %q %q", o, f)
	}
	for what, c := range map[string]struct {
		history          *checker
		overlaps, tokens int
	}{
		"two at one time":         {history(belief{"a", 1, at(0), at(10)}, belief{"b", 2, at(9), at(20)}), 1, 0},
		"one inside another":      {history(belief{"a", 1, at(0), at(10)}, belief{"b", 2, at(2), at(3)}, belief{"c", 3, at(5), at(6)}), 2, 0},
		"beside a foreign client": {history(belief{"foreign", 0, at(0), at(10)}, belief{"b", 2, at(9), at(20)}), 1, 0},
		"one token twice":         {history(belief{"a", 1, at(0), at(10)}, belief{"b", 1, at(11), at(20)}), 0, 1},
		"a smaller token later":   {history(belief{"a", 3, at(0), at(10)}, belief{"b", 1, at(11), at(20)}), 0, 1},
		"smaller, but not later":  {history(belief{"a", 3, at(0), at(10)}, belief{"b", 1, at(5), at(20)}), 1, 0},
		"smaller than one long ago": {
			history(belief{"a", 9, at(0), at(1)}, belief{"b", 10, at(2), at(30)}, belief{"c", 8, at(5), at(6)}), 1, 1,
		},
	} {
		if o, f := c.history.overlaps(), c.history.tokenFaults(); len(o) != c.overlaps || len(f) != c.tokens {
			t.Errorf("%s: found %q and %q", what, o, f)
		}
	}
}
