package schedule

import (
	"fmt"
	"strings"
	"time"

	"github.com/netresearch/go-cron"

	"github.com/lockstep-go/lockstep"
)

// Times is when the ticks of a schedule are: the same wherever it is computed.
type Times struct {
	text string
	next func(after time.Time) time.Time // zero: never
}

// lookAhead is how far a cron expression is looked for its next tick, in years. The
// 29th of February that is a Monday comes every 28 years, less often around 2100.
const lookAhead = 50

// Cron is the times of a cron expression: minute, hour, day of the month, month and
// day of the week, with the seconds before them where there are six; or @yearly,
// @monthly, @weekly, @daily, @hourly, or "@every 5m" as [Every].
//
// Its time zone is UTC, so that it is the same on every machine, or the one that it
// begins with: "CRON_TZ=Europe/Berlin 0 3 * * *". What falls into an hour that the
// clock there skips in spring comes an hour later; what falls into one that it shows
// twice in autumn comes twice. [lockstep.ErrInvalid]: what is wrong with it.
func Cron(expr string) (Times, error) {
	if every, ok := strings.CutPrefix(expr, "@every "); ok {
		d, err := time.ParseDuration(strings.TrimSpace(every))
		if err != nil {
			return Times{}, fmt.Errorf("schedule: %w: %q: %w", lockstep.ErrInvalid, expr, err)
		}
		return Every(d)
	}
	spec, err := cron.StandardParser().WithSecondOptional().WithMaxSearchYears(lookAhead).Parse(expr)
	if err != nil {
		return Times{}, fmt.Errorf("schedule: %w: cron expression %q: %w", lockstep.ErrInvalid, expr, err)
	}
	// Without a zone of its own the expression takes that of the time it is asked for.
	times := Times{text: expr, next: func(after time.Time) time.Time { return spec.Next(after.UTC()).UTC() }}
	if times.Next(time.Now()).IsZero() {
		return Times{}, fmt.Errorf("schedule: %w: cron expression %q: no such day in %d years", lockstep.ErrInvalid, expr, lookAhead)
	}
	return times, nil
}

// Every is the multiples of d since the beginning of the Unix epoch, 1 s at least: at
// the full minute for a minute, at midnight UTC for a day.
func Every(d time.Duration) (Times, error) {
	if d < time.Second {
		return Times{}, fmt.Errorf("schedule: %w: a tick every %v; it may be every second", lockstep.ErrInvalid, d)
	}
	return Times{text: "@every " + d.String(), next: func(after time.Time) time.Time {
		past := after.UnixNano() % int64(d)
		if past < 0 {
			past += int64(d)
		}
		return time.Unix(0, after.UnixNano()-past+int64(d)).UTC()
	}}, nil
}

// String is the expression.
func (t Times) String() string { return t.text }

// Next is the first tick after a time; zero: there is none.
func (t Times) Next(after time.Time) time.Time {
	if t.next == nil {
		return time.Time{}
	}
	next := t.next(after)
	if next.Year() <= 1 {
		return time.Time{}
	}
	return next
}

// Last is the last tick that is not after a time; zero: there was none.
func (t Times) Last(at time.Time) time.Time {
	const longAgo = lookAhead * 366 * 24 * time.Hour
	for back := time.Second; back < longAgo; back *= 4 {
		if last := t.between(at.Add(-back), at); !last.IsZero() {
			return last
		}
	}
	return time.Time{}
}

// between is the last tick after one time and not after another; zero: none.
func (t Times) between(after, until time.Time) (last time.Time) {
	for next := t.Next(after); !next.IsZero() && !next.After(until); next = t.Next(next) {
		last = next
	}
	return last
}
