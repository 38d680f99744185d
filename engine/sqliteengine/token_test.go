package sqliteengine

import (
	"path/filepath"
	"testing"
	"time"
)

// A power cut takes back what was not synced: lines.db is as it was some grants
// ago, or anything else, and the boot is another one.
func TestPowerCutBringsNoTokenBack(t *testing.T) {
	for what, leave := range afterACut {
		t.Run(what, func(t *testing.T) { cutPower(t, leave) })
	}
	t.Run("it is as it was", func(t *testing.T) {
		cutPower(t, nil)
	})
}

// cutPower leaves what was durable; nil: and lines.db as it was before the grants.
func cutPower(t *testing.T, leave func(t *testing.T, lines string)) {
	dir, cut := t.TempDir(), t.TempDir()
	clk := new(steppedClock)
	halfPast := time.Now().Truncate(time.Hour).Add(30 * time.Minute)
	clk.wallBy.Store(int64(time.Until(halfPast)))
	if err := open(t, dir, withClock(clk)).Close(); err != nil { // what is durable
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(dir, storeName), filepath.Join(cut, storeName))
	if lines := filepath.Join(cut, linesName); leave == nil {
		copyFile(t, filepath.Join(dir, linesName), lines)
	} else {
		leave(t, lines)
	}
	e := open(t, dir, withClock(clk))
	s := begin(t, e, long)
	last := acquire(t, s, mutex("n"))
	for range 5 {
		c := mutex("other")
		last = acquire(t, s, c)
		release(t, s, c)
	}

	// The wall clock may even have gone back: it has lost its battery.
	clk.wallBy.Add(int64(-365*day - 20*time.Minute))
	after := open(t, cut, withBoot("next"), withClock(clk))
	if g := acquire(t, begin(t, after, long), mutex("n")); g.Token <= last.Token {
		t.Errorf("token %d after the cut, %d before", g.Token, last.Token)
	}
}

// S2 where the data is lost: somebody removed the directory.
func TestNewDirectoryBeginsAboveTheTokensOfTheOldOne(t *testing.T) {
	old := open(t, t.TempDir())
	s := begin(t, old, long)
	c := mutex("n")
	before := acquire(t, s, c)
	clk := new(steppedClock)
	clk.wallBy.Store(int64(time.Millisecond))
	if g := acquire(t, begin(t, open(t, t.TempDir(), withClock(clk)), long), mutex("n")); g.Token <= before.Token {
		t.Errorf("token %d in the new directory, %d in the old", g.Token, before.Token)
	}
}

func TestEpochRisesWithEveryBootWhateverTheWallClockSays(t *testing.T) {
	token := int64(0)
	for _, wall := range []int64{1_800_000_000, 0, -1, 1_800_000_000, 1 << 33} {
		next := nextEpoch(token, time.Unix(wall, 0))
		if next>>epochShift <= token>>epochShift {
			t.Errorf("epoch %d at %v, after %d", next>>epochShift, wall, token>>epochShift)
		}
		token = next
	}
}
