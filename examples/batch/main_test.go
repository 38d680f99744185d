package main

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep/examples/fleet/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m, main) }

// check checks that every part was done once, and what everybody reports.
func check(t *testing.T, lines []string) {
	t.Helper()
	for _, name := range []string{"sum", "share"} {
		for n := 1; n <= parts; n++ {
			if done := fleettest.Find(fmt.Sprintf("batch/%s/%d: ", name, n), lines); len(done) != 1 {
				t.Errorf("%s %d was done %d times: %q", name, n, len(done), lines)
			}
		}
	}
	reports := fleettest.Find("the sum of all is ", lines)
	if len(reports) < 2 || slices.ContainsFunc(reports, func(r string) bool { return r != "180300, and part 6 of it is 30.5 %" }) {
		t.Errorf("reports: %q", reports)
	}
}

func TestWhatACrashedWorkerHadBegunIsDoneByAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := fleettest.New(t).Start(run).Wait()
		check(t, lines)
		if n := len(fleettest.Find("makes the report", lines)); n != 1 {
			t.Errorf("the report was made %d times", n)
		}
	})
}

func TestAWorkerThatIsCutOffForAWhileHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t).Start(run)
		time.Sleep(25 * time.Millisecond) // all are at their first part
		f.Client("b").Cut()
		time.Sleep(time.Hour)
		if reports := fleettest.Find("the sum of all is ", f.Said()); len(reports) != 1 {
			t.Errorf("a has had an hour, c has crashed, and there are the reports %q", reports)
		}
		f.Client("b").Heal()
		check(t, f.Wait())
	})
}

func TestItRunsWhole(t *testing.T) { check(t, fleettest.Whole(t)) }
