//go:build unix

package sqliteengine

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/lockstep-go/lockstep"
)

// everyKill runs f with children that live, and then twice for each of the calls
// that they made: killed before it, and after it. f says how many calls they made, 0
// if they were killed.
func everyKill(t *testing.T, f func(t *testing.T, orders string) (calls int)) {
	t.Helper()
	calls := f(t, "mortal 0 before")
	if calls < 4 {
		t.Fatalf("a child made %d calls", calls)
	}
	var killed atomic.Int64
	t.Cleanup(func() { // how many calls are made depends on who else is there
		if n := killed.Load(); n < 4 {
			t.Errorf("%d of %d were killed", n, 2*calls)
		}
	})
	for at := range calls {
		for _, when := range []string{"before", "after"} {
			orders := fmt.Sprintf("mortal %d %s", at+1, when)
			t.Run(orders, func(t *testing.T) {
				t.Parallel()
				if f(t, orders) == 0 {
					killed.Add(1)
				}
			})
		}
	}
}

func (c *child) obeys(orders string) *child {
	c.t.Helper()
	if c.ask("%s", orders) != "mortal" {
		c.t.Fatal("it is not")
	}
	return c
}

func heir(t *testing.T, dir string) *lockstep.Client {
	t.Helper()
	c, err := program(open(t, dir))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func TestWhereverARunnersProcessIsKilledOneResultIsRecorded(t *testing.T) {
	t.Parallel()
	everyKill(t, func(t *testing.T, orders string) int {
		dir := t.TempDir()
		runner := spawn(t, dir).obeys(orders)
		runner.send("once victim")
		answer, calls, lived := strings.Cut(runner.last(), " ")
		if lived && answer != "victim" {
			t.Errorf("the runner: %s", answer)
		}
		var results []string
		for range 2 {
			r, err := heir(t, dir).Once("job").Do(guarded(t), func(context.Context) ([]byte, error) { return []byte("heir"), nil })
			if err != nil {
				t.Error(err)
			}
			results = append(results, string(r))
		}
		if results[0] != results[1] || lived && results[0] != answer {
			t.Errorf("%q was told, and %q are recorded", answer, results)
		}
		n, _ := strconv.Atoi(calls)
		return n
	})
}

func TestWhereverVotersProcessesAreKilledThereIsOneDecision(t *testing.T) {
	t.Parallel()
	everyKill(t, func(t *testing.T, orders string) int {
		dir := t.TempDir()
		victims := []*child{spawn(t, dir).obeys(orders), spawn(t, dir).obeys(orders)}
		for i, v := range victims {
			v.send(fmt.Sprintf("vote victim%d no", i))
		}
		var all sync.WaitGroup
		decisions := make([]lockstep.Decision, 4)
		for i, choice := range []string{"yes", "yes", "no"} {
			c := heir(t, dir)
			all.Go(func() {
				if _, err := rollout(c).Vote(guarded(t), fmt.Sprint("voter", i), choice); err != nil {
					t.Error(err)
				}
				var err error
				if decisions[i], err = rollout(c).Decision(guarded(t)); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		calls := 0
		for i, v := range victims {
			if answer := v.last(); answer != "" {
				n, err := strconv.Atoi(answer)
				if err != nil {
					t.Errorf("a voter: %s", answer)
				}
				calls = max(calls, n)
			}
			if _, err := rollout(heir(t, dir)).Vote(guarded(t), fmt.Sprint("victim", i), "no"); err != nil { // it has come back
				t.Error(err)
			}
		}
		var err error
		if decisions[3], err = rollout(heir(t, dir)).Decision(guarded(t)); err != nil {
			t.Error(err)
		}
		for _, d := range decisions {
			if d.Carried != decisions[0].Carried || d.Choice != decisions[0].Choice {
				t.Errorf("decisions %+v and %+v", decisions[0], d)
			}
		}
		return calls
	})
}
