package main

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/examples/fleet"
	"github.com/lockstep-go/lockstep/examples/fleet/fleettest"
	"github.com/lockstep-go/lockstep/locksteptest"
)

func TestMain(m *testing.M) { fleettest.Main(m, main) }

// each checks that every job ran once.
func each(t *testing.T, lines []string) {
	t.Helper()
	ran := fleettest.Find("leads, and runs job ", lines)
	slices.Sort(ran)
	var want []string
	for n := 1; n <= jobs; n++ {
		want = append(want, fmt.Sprint(n))
	}
	if !slices.Equal(ran, want) || len(fleettest.Find("all jobs are done", lines)) == 0 {
		t.Errorf("jobs %v ran: %q", ran, lines)
	}
}

func TestLeadersThatCrashAreFollowedAndEachJobRunsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		each(t, fleettest.New(t).Start(run).Wait())
	})
}

func TestALeaderThatLosesTheLeadStopsAndStandsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t).Start(run)
		time.Sleep(25 * time.Millisecond) // in the middle of the first job
		first, err := f.Client("a").Election("scheduler").Leader(t.Context())
		if err != nil || first.Vacant() {
			t.Fatalf("%+v, %v", first, err)
		}
		f.Client(first.Value).EndSession()
		synctest.Wait()
		second, err := f.Client("a").Election("scheduler").Leader(t.Context())
		if err != nil || second.Value == first.Value || second.Token <= first.Token {
			t.Errorf("after %+v: %+v, %v", first, second, err)
		}
		each(t, f.Wait())
	})
}

// A leader that was paused past its term does not know that it was followed.
func TestAPausedLeadersLateStepIsRefusedByItsToken(t *testing.T) {
	c := locksteptest.New(t)
	s := &scheduler{&fleet.Member{Client: c.Client}, lockstep.ValueOf[book](c.Client, "scheduler/book")}
	const before, after lockstep.Token = 33, 34
	for _, step := range []struct {
		token lockstep.Token
		job   int
	}{{before, 1}, {after, 2}, {before, 0}, {after, 3}} {
		if job, err := s.next(t.Context(), step.token); job != step.job || (err != nil) != (step.job == 0) {
			t.Errorf("with token %d: job %d, %v", step.token, job, err)
		}
	}
}

func TestItRunsWhole(t *testing.T) {
	lines := fleettest.Whole(t)
	each(t, lines)
	if n := len(fleettest.Find("(crashed)", lines)); n != 2 {
		t.Errorf("%d leaders crashed: %q", n, lines)
	}
}
