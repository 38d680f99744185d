package main

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep/examples/fleet/fleettest"
)

func TestMain(m *testing.M) { fleettest.Main(m, main) }

func TestEveryServerAppliesEveryChangeAndKeepsWhatItHasOverABadOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		lines := fleettest.New(t).Start(run).Wait()
		for _, name := range fleettest.Names {
			want := []string{
				"serves with limit 10", "serves with limit 20",
				`keeps limit 20: strconv.Atoi: parsing "many": invalid syntax`,
				"serves with limit 40", "drains, and ends",
			}
			if said := fleettest.Of(name, lines); !slices.Equal(said, want) {
				t.Errorf("%s: %q", name, said)
			}
		}
	})
}

func TestAServerThatIsCutOffGoesOnWithWhatItHasAndCatchesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := fleettest.New(t).Start(run)
		time.Sleep(300 * time.Millisecond) // after the first change
		f.Client("b").Cut()
		time.Sleep(time.Second) // after all of them
		synctest.Wait()
		had := []string{"serves with limit 10", "serves with limit 20"}
		if said := fleettest.Of("b", f.Said()); !slices.Equal(said, had) {
			t.Errorf("while it is cut off: %q", said)
		}
		f.Client("b").Heal()
		// What it missed it is shown at once or one by one, as it comes to look.
		said := fleettest.Of("b", f.Wait())
		if !slices.Equal(said[:2], had) || said[len(said)-1] != "drains, and ends" {
			t.Errorf("%q", said)
		}
	})
}

func TestItRunsWhole(t *testing.T) {
	lines := fleettest.Whole(t)
	for _, name := range fleettest.Names {
		said := fleettest.Of(name, lines)
		if len(said) < 2 || said[0] != "serves with limit 10" || said[len(said)-1] != "drains, and ends" {
			t.Errorf("%s: %q", name, said)
		}
	}
}
