package schedule

import (
	"errors"
	"fmt"
	"testing"
	"time"
	_ "time/tzdata" // a machine may have no zones

	"github.com/lockstep-go/lockstep"
)

func at(t *testing.T, text string) time.Time {
	t.Helper()
	when, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return when
}

func mustCron(t *testing.T, expr string) Times {
	t.Helper()
	times, err := Cron(expr)
	if err != nil {
		t.Fatal(err)
	}
	return times
}

func TestTimesAreThoseOfTheirExpression(t *testing.T) {
	for _, c := range []struct{ expr, after, next, last string }{
		{"*/5 * * * *", "2026-11-25T10:02:03Z", "2026-11-25T10:05:00Z", "2026-11-25T10:00:00Z"},
		{"*/5 * * * *", "2026-11-25T10:05:00Z", "2026-11-25T10:10:00Z", "2026-11-25T10:05:00Z"},
		{"30 */10 * * * *", "2026-11-25T10:02:03Z", "2026-11-25T10:10:30Z", "2026-11-25T10:00:30Z"},
		{"0 3 * * *", "2026-11-25T10:00:00+02:00", "2026-11-26T03:00:00Z", "2026-11-25T03:00:00Z"},
		{"CRON_TZ=Europe/Berlin 0 3 * * *", "2026-11-25T10:00:00Z", "2026-11-26T02:00:00Z", "2026-11-25T02:00:00Z"},
		{"@daily", "2026-11-25T10:00:00Z", "2026-11-26T00:00:00Z", "2026-11-25T00:00:00Z"},
		{"0 0 29 2 *", "2026-11-25T10:00:00Z", "2028-02-29T00:00:00Z", "2024-02-29T00:00:00Z"},
		{"0 0 31 * *", "2026-11-25T10:00:00Z", "2026-12-31T00:00:00Z", "2026-10-31T00:00:00Z"},
		{"@every 7m", "2026-11-25T10:01:00Z", "2026-11-25T10:07:00Z", "2026-11-25T10:00:00Z"},
		{"@every 24h", "2026-11-25T10:00:00Z", "2026-11-26T00:00:00Z", "2026-11-25T00:00:00Z"},
		{"@every 10s", "1969-12-31T23:59:55Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:50Z"},
	} {
		times := mustCron(t, c.expr)
		if got := times.Next(at(t, c.after)); !got.Equal(at(t, c.next)) {
			t.Errorf("%s: after %s comes %v; want %s", c.expr, c.after, got, c.next)
		}
		if got := times.Last(at(t, c.after)); !got.Equal(at(t, c.last)) {
			t.Errorf("%s: the last at %s is %v; want %s", c.expr, c.after, got, c.last)
		}
	}
}

// What clocks in Berlin skipped and showed twice, and the same ticks whoever begins
// to look when: a tick is known by its time alone.
func TestTicksAreTheSameWhereverOneBeginsToLook(t *testing.T) {
	for _, c := range []struct {
		expr, from, until string
		want              int
	}{
		{"CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", 2},
		{"CRON_TZ=Europe/Berlin 0 2 * * *", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", 2},
		{"CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", 3},
		{"CRON_TZ=Europe/Berlin */20 * * * *", "2026-03-28T12:00:00Z", "2026-03-30T12:00:00Z", 144},
		{"CRON_TZ=Europe/Berlin */20 * * * *", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z", 144},
		{"@every 7m", "2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z", 206},
	} {
		times, from, until := mustCron(t, c.expr), at(t, c.from), at(t, c.until)
		ticks := map[time.Time]bool{}
		for next := times.Next(from); !next.After(until); next = times.Next(next) {
			ticks[next] = true
		}
		if len(ticks) != c.want {
			t.Errorf("%s from %s: %d ticks; want %d", c.expr, c.from, len(ticks), c.want)
		}
		for begin := from; ; begin = begin.Add(97 * time.Second) {
			next := times.Next(begin)
			if next.After(until) {
				break
			}
			if !ticks[next] {
				t.Errorf("%s: who begins at %v finds %v, others do not", c.expr, begin, next)
			}
		}
	}
}

func TestWhatIsNoScheduleIsRefused(t *testing.T) {
	for _, expr := range []string{
		"", "* * * *", "61 * * * *", "0 0 30 2 *", "CRON_TZ=Nowhere/City 0 3 * * *", "TZ=0", "@every 500ms", "@every", "@noon",
	} {
		if _, err := Cron(expr); !errors.Is(err, lockstep.ErrInvalid) {
			t.Errorf("%q: %v", expr, err)
		} else {
			t.Log(err)
		}
	}
}

func ExampleTimes_Next() {
	times, err := Cron("CRON_TZ=Europe/Berlin 30 6 * * mon-fri")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(times.Next(time.Date(2026, time.November, 27, 12, 0, 0, 0, time.UTC)))
	// Output: 2026-11-30 05:30:00 +0000 UTC
}
