package enginetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// belief is one holder's time: from when it knew of its grant until it began to
// give back, both by this process's clock.
type belief struct {
	token      engine.Token
	start, end time.Time
}

// overlaps finds what no history of an exclusive lock may have: two beliefs at
// one time, one token twice, or tokens in another order than the beliefs (S2).
func overlaps(history []belief) []string {
	var faults []string
	byToken := slices.SortedFunc(slices.Values(history), func(a, b belief) int {
		switch {
		case a.token < b.token:
			return -1
		case a.token > b.token:
			return 1
		}
		return a.start.Compare(b.start)
	})
	for i := 1; i < len(byToken); i++ {
		a, b := byToken[i-1], byToken[i]
		if a.token == b.token {
			faults = append(faults, fmt.Sprintf("two grants share token %d", a.token))
		}
		if b.start.Before(a.end) {
			faults = append(faults, fmt.Sprintf("token %d was believed %v before %d was given back", b.token, a.end.Sub(b.start), a.token))
		}
	}
	return faults
}
