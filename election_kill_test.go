package lockstep_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
)

// term is a leader's time, by its trust window.
type term struct {
	value      string
	token      lockstep.Token
	start, end time.Time
}

// What killed leaders leave to others (enginetest has the same, in real time and
// fewer, for every engine). A killed leader's network is dead for one to three
// TTLs, in which it trusts and renews in vain.
func TestLeadersKilledAHundredTimesNeverOverlapAndAllObserversAgree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const candidates, observers, kills = 5, 10, 100
		s := newService(t)
		var mu sync.Mutex
		var terms []term
		rigs := map[string]*rig{}
		leading := make(chan string)
		ctx, end := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for i := range candidates {
			c, r := s.rigged()
			value := fmt.Sprint(i)
			rigs[value] = r
			all.Go(func() {
				err := c.Election("e").Run(ctx, value, func(ctx context.Context) error {
					lead, start := lockstep.LeadershipFrom(ctx), time.Now()
					select {
					case leading <- value:
						<-ctx.Done()
					case <-ctx.Done():
					}
					mu.Lock()
					defer mu.Unlock()
					terms = append(terms, term{value, lead.Token(), start, time.Now()})
					return ctx.Err()
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Run: %v", err)
				}
			})
		}
		var seen []*audience
		for range observers {
			seen = append(seen, observe(t, s.client().Election("e")))
		}
		for i := range kills {
			r := rigs[<-leading]
			r.set(func() { r.cut = true })
			time.AfterFunc(ttl+time.Duration(i%3)*ttl, func() { r.set(func() { r.cut = false }) })
		}
		last := <-leading
		time.Sleep(4 * ttl) // all networks live again
		shown := make([][]lockstep.Leader, observers)
		for i, o := range seen {
			shown[i] = o.all()
		}
		end()
		all.Wait()

		slices.SortFunc(terms, func(a, b term) int { return cmp.Compare(a.token, b.token) })
		for i := 1; i < len(terms); i++ {
			a, b := terms[i-1], terms[i]
			if a.token == b.token || b.start.Before(a.end) {
				t.Errorf("%s led with token %d until %v, %s with %d from %v (S1, S2)", a.value, a.token, a.end, b.value, b.token, b.start)
			}
		}
		if len(terms) <= kills {
			t.Errorf("%d terms; want more than %d", len(terms), kills)
		}
		for i, s := range shown {
			checkObserved(t, i, s, terms, last)
		}
	})
}

// checkObserved: a subsequence of the terms that ends in the last.
func checkObserved(t *testing.T, observer int, shown []lockstep.Leader, terms []term, last string) {
	t.Helper()
	rest := terms
	for _, l := range shown {
		if l.Vacant() {
			continue
		}
		at := slices.IndexFunc(rest, func(t term) bool { return t.token == l.Token && t.value == l.Value })
		if at < 0 {
			t.Fatalf("observer %d was shown %s with token %d, which is no later term", observer, l.Value, l.Token)
		}
		rest = rest[at+1:]
	}
	if n := len(shown); n == 0 || shown[n-1].Value != last || shown[n-1].Token != terms[len(terms)-1].token {
		t.Errorf("observer %d saw %+v last; want %s", observer, shown[max(0, n-1):], last)
	}
}
