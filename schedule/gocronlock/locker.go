package gocronlock

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-co-op/gocron/v2"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/schedule"
)

// ErrTaken: another program runs, or ran, the job at this tick.
var ErrTaken = errors.New("somebody else has this tick")

// early is how much before its time gocron may run a job: a timer and the wall clock
// may differ by that much.
const early = 500 * time.Millisecond

// Locker is for one job, or for several with the same times.
type Locker struct {
	c     *lockstep.Client
	times schedule.Times
}

var _ gocron.Locker = (*Locker)(nil)

// NewLocker is a locker for jobs with these times, for gocron.WithDistributedJobLocker.
// gocron does not say which tick it runs a job for; it is the last one of times, so
// times must be the job's own: [schedule.Cron] of its crontab, in the zone of its
// scheduler, or [schedule.Every] of its duration where all programs' jobs start at its
// multiples (gocron.WithStartAt). All programs must give the job the same name.
func NewLocker(c *lockstep.Client, times schedule.Times) *Locker { return &Locker{c, times} }

// Lock says whether this program runs the job now: [ErrTaken], or what
// [lockstep.Ticks.Take] and [lockstep.Mutex.TryLock] return. While it runs, the mutex of
// the job's name is held, so a tick is skipped while an earlier one runs.
func (l *Locker) Lock(ctx context.Context, job string) (gocron.Lock, error) {
	tick := l.times.Last(time.Now().Add(early))
	if l.c == nil || tick.IsZero() {
		return nil, fmt.Errorf("gocronlock: job %q: %w: no client, or no tick", job, lockstep.ErrInvalid)
	}
	mine, err := l.c.Ticks(job).Take(ctx, tick)
	switch {
	case err != nil:
		return nil, fmt.Errorf("gocronlock: job %q: %w", job, err)
	case !mine:
		return nil, fmt.Errorf("gocronlock: job %q: %w: %v", job, ErrTaken, tick)
	}
	lease, err := l.c.Mutex(job).TryLock(ctx)
	if err != nil {
		return nil, fmt.Errorf("gocronlock: job %q: %w", job, err)
	}
	return lock{lease}, nil
}

type lock struct{ lease *lockstep.Lease }

// Unlock gives the lock back: [lockstep.ErrLost] where it was lost while the job ran.
func (l lock) Unlock(ctx context.Context) error { return l.lease.Release(ctx) }
