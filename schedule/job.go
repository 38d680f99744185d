package schedule

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
)

// Job is a function's schedule across a fleet. It is a stateless handle; each Run is
// one program's part in it.
type Job struct {
	c       *lockstep.Client
	name    string
	times   Times
	late    time.Duration
	overlap bool
	report  func(Report)
}

// DefaultLate is how late a tick may be, where nothing else is said.
const DefaultLate = time.Minute

// New is the job of that name: all who use the name must give the same times, or
// each runs ticks of its own. While its function runs, the mutex of that name is held.
func New(c *lockstep.Client, name string, times Times) *Job {
	return &Job{c: c, name: name, times: times, late: DefaultLate, report: func(r Report) {
		if r.Err != nil && r.Outcome != Skipped {
			slog.Warn("schedule: a tick failed", "job", name, "tick", r.Tick, "outcome", r.Outcome, "error", r.Err)
		}
	}}
}

// Late is the same with another bound: a tick that nobody has asked for so long after
// its time is missed. It is also how far back Run looks when it begins.
func (j *Job) Late(d time.Duration) *Job {
	with := *j
	with.late = d
	return &with
}

// Overlap is the same without its mutex: a tick runs also while an earlier one does,
// and its function has no token.
func (j *Job) Overlap() *Job {
	with := *j
	with.overlap = true
	return &with
}

// Report is the same with f told of every tick that this program had a part in, by one
// goroutine at a time; where it is not given, slog.Default is told of errors.
func (j *Job) Report(f func(Report)) *Job {
	with := *j
	var mu sync.Mutex
	with.report = func(r Report) {
		mu.Lock()
		defer mu.Unlock()
		f(r)
	}
	return &with
}

// Outcome is what became of a tick, as one program sees it.
type Outcome string

// The outcomes.
const (
	Ran       Outcome = "ran"       // here; Err is the function's, and ErrLost where the lock was lost
	Elsewhere Outcome = "elsewhere" // somebody else has it
	Skipped   Outcome = "skipped"   // it was had here, and an earlier one still runs somewhere
	Unknown   Outcome = "unknown"   // the engine did not answer, or not for certain: it is not run here
)

// Report is one tick's.
type Report struct {
	Tick    time.Time
	Outcome Outcome
	Err     error
}

// Run waits for the ticks until ctx ends, and runs f for those that this program has.
// f's context ends with ctx and when the job's mutex is lost, and carries the lease
// ([lockstep.TokenFrom]). An error of f's is reported and ends nothing. Run returns
// when f has, with ctx's error, or at once with [lockstep.ErrInvalid],
// [lockstep.ErrUnsupported] or [lockstep.ErrClosed] where nothing will ever run.
//
// Ticks are by the wall clock: where it is set forward, or this machine was suspended,
// only the last tick is asked for, if it is not too late.
func (j *Job) Run(ctx context.Context, f func(ctx context.Context, tick time.Time) error) error {
	ticks, err := j.ticks()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var running sync.WaitGroup
	defer running.Wait()
	for asked := time.Now().Add(-j.late); ; {
		tick, ok := j.wait(ctx, asked)
		if !ok {
			return context.Cause(ctx)
		}
		asked = tick
		mine, err := ticks.Take(ctx, tick)
		switch {
		case permanent(err) && time.Since(tick) <= j.late: // else it is the tick that is: this program stood still
			return fmt.Errorf("schedule %q: %w", j.name, err)
		case err != nil:
			j.report(Report{tick, Unknown, err})
		case !mine:
			j.report(Report{tick, Elsewhere, nil})
		case j.overlap:
			running.Go(func() { j.report(Report{tick, Ran, f(ctx, tick)}) })
		default:
			j.report(j.alone(ctx, tick, f))
		}
	}
}

// ticks checks the job, and is its line of ticks. They are remembered for long
// enough that a late one is refused rather than run again.
func (j *Job) ticks() (*lockstep.Ticks, error) {
	switch {
	case j.c == nil:
		return nil, fmt.Errorf("schedule %q: %w: no client", j.name, lockstep.ErrInvalid)
	case j.times.next == nil:
		return nil, fmt.Errorf("schedule %q: %w: no times", j.name, lockstep.ErrInvalid)
	case j.late < time.Second:
		return nil, fmt.Errorf("schedule %q: %w: %v late; it is a second at least", j.name, lockstep.ErrInvalid, j.late)
	}
	return j.c.Ticks(j.name).Keep(max(lockstep.DefaultKeep, 4*j.late)), nil
}

// lookAgain is how long a wait trusts the clock that it began with: the wall clock may
// be set meanwhile, and a suspended machine's timers stand still.
const lookAgain = 10 * time.Second

// wait waits for the next tick after one that was asked for, and returns the last one
// whose time has come.
func (j *Job) wait(ctx context.Context, asked time.Time) (tick time.Time, ok bool) {
	for ctx.Err() == nil {
		now := time.Now().Round(0) // the wall clock alone
		asked = earlier(asked, now)
		if last := j.times.between(later(asked, now.Add(-j.late)), now); !last.IsZero() {
			return last, true
		}
		pause := lookAgain
		if next := j.times.Next(now); !next.IsZero() {
			pause = min(pause, next.Sub(now))
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
	return time.Time{}, false
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// alone runs f while no other tick of the job runs anywhere.
func (j *Job) alone(ctx context.Context, tick time.Time, f func(context.Context, time.Time) error) Report {
	lease, err := j.c.Mutex(j.name).TryLock(ctx)
	switch {
	case errors.Is(err, lockstep.ErrHeld):
		return Report{tick, Skipped, err}
	case err != nil:
		return Report{tick, Unknown, err}
	}
	defer lease.Release(ctx) //nolint:errcheck // it is given back in the background, or has been lost already
	ctx, free := lease.Attach(ctx)
	defer free()
	err = f(ctx, tick)
	if lost := lease.Err(); lost != nil {
		err = errors.Join(err, lost)
	}
	return Report{tick, Ran, err}
}

// permanent: asking again changes nothing.
func permanent(err error) bool {
	return errors.Is(err, lockstep.ErrInvalid) || errors.Is(err, lockstep.ErrUnsupported) || errors.Is(err, lockstep.ErrClosed)
}
