package main

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep/examples/fleet/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m, main) }

// check checks each host's story, and the decisions.
func check(t *testing.T, lines []string) {
	t.Helper()
	for _, name := range fleettest.Names {
		vote := "yes"
		if name == "c" {
			vote = "no"
		}
		want := []string{
			"votes yes on v2", "stops v1", "has started v2",
			"votes " + vote + " on v3", "stays with v2: v3 was not agreed on", "runs v2",
		}
		if said := fleettest.Of(name, lines); !slices.Equal(said, want) {
			t.Errorf("%s: %q", name, said)
		}
	}
}

func TestOnlyWhatAllAgreeOnIsRolledOutOneAfterAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := fleettest.New(t).Start(run).Wait()
		check(t, lines)
		changing := ""
		for _, l := range lines {
			switch name, text, _ := strings.Cut(l, " | "); {
			case strings.HasPrefix(text, "stops") && changing != "":
				t.Errorf("%s stops while %s does: %q", name, changing, lines)
			case strings.HasPrefix(text, "stops"):
				changing = name
			case strings.HasPrefix(text, "has started"):
				changing = ""
			}
		}
	})
}

func TestAHostThatIsCutOffHoldsNobodyUpForEverAndHasTheSameDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t)
		f.Client("c").Cut()
		f.Start(run)
		time.Sleep(10 * time.Minute) // both votes' deadlines
		f.Client("c").Heal()
		lines := f.Wait()
		for _, name := range fleettest.Names {
			if said := fleettest.Of(name, lines); !slices.Contains(said, "stays with v1: v2 was not agreed on") || said[len(said)-1] != "runs v1" {
				t.Errorf("%s: %q", name, said)
			}
		}
	})
}

func TestItRunsWhole(t *testing.T) { check(t, fleettest.Whole(t)) }
