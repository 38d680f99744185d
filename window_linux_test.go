package lockstep

import (
	"testing"
	"time"
)

func TestSuspendedTimeIsAskedAnewWhereTheWallClockMovedByItself(t *testing.T) {
	was := skew{wall: time.Hour, at: time.Minute}
	for name, c := range map[string]struct {
		now  skew
		near bool
	}{
		"a moment later":                         {skew{time.Hour, time.Minute + time.Millisecond}, true},
		"the wall clock was slewed":              {skew{time.Hour + 400*time.Microsecond, time.Minute + 800*time.Millisecond}, true},
		"suspended for a moment":                 {skew{time.Hour + 2*time.Millisecond, time.Minute + time.Millisecond}, false},
		"suspended for a night":                  {skew{9 * time.Hour, time.Minute + time.Millisecond}, false},
		"the wall clock stepped back":            {skew{time.Minute, time.Minute + time.Millisecond}, false},
		"long ago":                               {skew{time.Hour, 2 * time.Minute}, false},
		"read before (two that race each other)": {skew{time.Hour, time.Minute - time.Millisecond}, false},
	} {
		if got := was.near(c.now); got != c.near {
			t.Errorf("%s: taken for the same: %v", name, got)
		}
	}
}

func TestSuspendedTimeIsTheKernels(t *testing.T) {
	if got, want := suspended(time.Now()), askSuspended(); got-want > 10*time.Millisecond || want-got > 10*time.Millisecond {
		t.Errorf("suspended for %v, and the kernel says %v", got, want)
	}
}
