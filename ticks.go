package lockstep

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Ticks is moments that have one taker each, whoever asks how often and when: a
// tick that was taken stays taken, also when its taker has crashed or is done
// already. It is what package schedule stands on. A Ticks is a stateless handle.
type Ticks struct{ r record[ticksState] }

// ticksState is the ticks taken last, and a floor: what is not later than it has
// been taken or missed. Both are Unix nanoseconds.
type ticksState struct {
	Floor int64   `json:"floor"`
	Taken []int64 `json:"taken"` // in the order in which they were taken
}

// maxTicks is how many are remembered one by one; the one that was taken first is
// forgotten first.
const maxTicks = 100

// Ticks is the ticks with this name. A bad name is an error of its first use.
func (c *Client) Ticks(name string) *Ticks {
	return &Ticks{newRecord[ticksState](c, "ticks", name, DefaultKeep)}
}

// Keep is the same with another retention, [MinKeep] to [MaxTerm], counted from the
// last tick that was taken; [DefaultKeep] where it is not given.
func (t *Ticks) Keep(d time.Duration) *Ticks {
	with := *t
	with.r.keep = d
	return &with
}

// Take says whether the caller has the tick: of all who ask for one, one is told
// yes. One that comes after a hundred later ones were taken is told no. Clocks may
// differ by half the retention.
//
// Errors are those of [Map]; after one that leaves the outcome open nobody may have
// the tick. [ErrInvalid]: a tick that is over by half the retention, which may have
// been taken and forgotten. [ErrMismatch]: ticks have been taken that are ahead of
// this machine's clock by the retention, so one of the clocks is wrong.
func (t *Ticks) Take(ctx context.Context, tick time.Time) (bool, error) {
	mine := false
	_, err := t.r.update(ctx, "", func(_ context.Context, s *seen[ticksState]) (bool, error) {
		now := time.Now()
		if err := t.check(*s, tick, now); err != nil {
			return false, err
		}
		mine = s.state.take(tick.UnixNano())
		return mine, nil
	})
	return mine && err == nil, failed("take a tick of", t.r.m.name, err)
}

func (t *Ticks) check(s seen[ticksState], tick, now time.Time) error {
	if err := checkKeep(t.r.keep); err != nil {
		return err
	}
	if late := now.Sub(tick); late > t.r.keep/2 {
		return invalidf("the tick of %v is over by %v; with this retention it may be by %v", tick, late, t.r.keep/2)
	}
	if floor := time.Unix(0, s.state.Floor); tick.Before(floor) && floor.Sub(now) > t.r.keep {
		return &MismatchError{Name: t.r.m.name, Detail: fmt.Sprintf(
			"ticks up to %v are taken, and here it is %v: one of the clocks is wrong (Delete forgets the ticks)", floor, now)}
	}
	return nil
}

func (s *ticksState) take(at int64) bool {
	if at <= s.Floor || slices.Contains(s.Taken, at) {
		return false
	}
	s.Taken = append(s.Taken, at)
	if len(s.Taken) > maxTicks {
		s.forget()
	}
	return true
}

// forget forgets the first that was taken. It is the new floor, so that a slow clock
// does not take it again, unless many are earlier: then a clock that was far ahead
// took it, and must not stop the others.
func (s *ticksState) forget() {
	first := s.Taken[0]
	s.Taken = slices.Clone(s.Taken[1:])
	later := 0
	for _, at := range s.Taken {
		if at > first {
			later++
		}
	}
	if 10*later >= 9*len(s.Taken) {
		s.Floor = max(s.Floor, first)
	}
}

// Delete forgets all ticks: each may be taken again.
func (t *Ticks) Delete(ctx context.Context) error {
	return failed("delete the ticks of", t.r.m.name, t.r.remove(ctx))
}
