package lockstep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Once is a function that one of many runs: its result is recorded, and all
// others get that. A runner whose process or session ended is replaced by the next
// in line, who begins afresh: so the function may be begun more than once, and by
// another while a runner that has lost its lease still believes to run (its context
// ends before that). Exactly one result is recorded, that of the greatest token
// that finished.
//
// An error is no result: nothing is recorded, and the next in line begins. A Once
// is a stateless handle.
type Once struct {
	r    record[onceState]
	line request
}

// onceState is who began last and, once it has finished, its result.
type onceState struct {
	Token  Token  `json:"token"`
	Done   bool   `json:"done,omitempty"`
	Result []byte `json:"result,omitempty"`
}

// finished says whether the result is there, and its retention is not over.
func finished(s seen[onceState]) bool { return s.state.Done && !s.over() }

// Once is the function with this name. A bad name is an error of its first use.
func (c *Client) Once(name string) *Once {
	o := &Once{newRecord[onceState](c, "result", name, DefaultKeep), c.newRequest(name, engine.Mutex, 1, 1, nil)}
	o.line.own = "once"
	if c != nil && o.r.m.err == nil {
		o.r.line, o.r.m.err = c.own(o.line.own, name)
	}
	return o
}

// Keep is the same with another retention, [MinKeep] to [MaxTerm]: so long at least
// everyone gets the result, as long as the clocks of the machines differ by less
// than an eighth of it. After that, the function is run again.
func (o *Once) Keep(d time.Duration) *Once {
	with := *o
	with.r.keep = d
	return &with
}

// Do returns the result: the one that is recorded, or that of whoever runs f now,
// or, where nobody does, its own f's, which it records.
//
// f's context ends with ctx and when its lease is lost, and carries the lease:
// [TokenFrom]. The error is f's, joined with [ErrLost] where the lease was lost while
// f ran; then nothing of this run is recorded (a request whose reply did not come
// may be), and Do may be called again. Otherwise errors are those of [Mutex.Lock]
// and [Map]. [ErrInvalid]: the result is longer than three quarters of what a value
// may have.
func (o *Once) Do(ctx context.Context, f func(context.Context) ([]byte, error)) ([]byte, error) {
	result, err := o.do(ctx, f)
	return result, failed("once", o.r.m.name, err)
}

func (o *Once) do(ctx context.Context, f func(context.Context) ([]byte, error)) ([]byte, error) {
	if err := checkKeep(o.r.keep); err != nil {
		return nil, err
	}
	s, err := o.r.load(ctx)
	if err != nil || finished(s) {
		return s.state.Result, err
	}
	lease, result, err := o.turn(ctx)
	if lease == nil {
		return result, err
	}
	err = o.r.m.c.do(ctx, lease, func(context.Context) (err error) {
		result, err = o.run(ctx, lease, f)
		return err
	})
	if err != nil {
		return nil, err
	}
	return result, nil
}

// Get is the recorded result; [ErrNotFound] where there is none.
func (o *Once) Get(ctx context.Context) ([]byte, error) {
	s, err := o.r.load(ctx)
	if err == nil && !finished(s) {
		err = fmt.Errorf("%w: there is no result", ErrNotFound)
	}
	return s.state.Result, failed("get the result of once", o.r.m.name, err)
}

// Delete removes the result: the function may be run again.
func (o *Once) Delete(ctx context.Context) error {
	_, err := o.r.update(ctx, "", func(_ context.Context, s *seen[onceState]) (bool, error) {
		done := s.state.Done
		s.state = onceState{Token: s.state.Token} // so that no older run records its result now
		return done, nil
	})
	return failed("delete the result of once", o.r.m.name, err)
}

// turn waits for the lease or for somebody's result, whatever comes first: when
// the result is there all who wait go at once, not one after another.
func (o *Once) turn(ctx context.Context) (lease *Lease, result []byte, err error) {
	waiting, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	var s seen[onceState]
	var watched error
	go func() {
		defer close(ended)
		s, watched = o.r.wait(waiting, func(s seen[onceState]) (bool, error) { return finished(s), nil })
		if watched == nil {
			cancel(errFinished)
		}
	}()
	lease, err = o.line.acquire(waiting, how{op: "wait for"})
	cancel(nil)
	<-ended
	switch {
	case err == nil:
		return lease, nil, nil // run looks again
	case watched == nil:
		return nil, s.state.Result, nil
	case errors.Is(watched, ErrMismatch), errors.Is(watched, ErrUnsupported):
		return nil, nil, watched
	}
	return nil, nil, unwatched(err)
}

var errFinished = errors.New("the result is there")

// run begins, runs f and records its result, unless somebody was faster. Between
// its two steps the token in the record keeps out whoever began before: a result
// that comes late, after a later run began, is not recorded.
func (o *Once) run(ctx context.Context, lease *Lease, f func(context.Context) ([]byte, error)) ([]byte, error) {
	under, free := lease.Attach(ctx)
	defer free()
	s, err := o.begin(under, lease.Token())
	if err != nil || finished(s) {
		return s.state.Result, lease.why(ctx, err)
	}
	result, err := f(under)
	if err != nil {
		return nil, err
	}
	if limit := o.longest(); len(result) > limit {
		return nil, invalidf("a result of %d bytes; it may have %d here", len(result), limit)
	}
	return result, lease.why(ctx, o.finish(under, lease.Token(), result))
}

func (o *Once) begin(ctx context.Context, token Token) (seen[onceState], error) {
	return o.r.update(ctx, "", func(_ context.Context, s *seen[onceState]) (bool, error) {
		switch {
		case finished(*s):
			return false, nil
		case s.state.Token >= token:
			return false, errOvertaken
		}
		s.state = onceState{Token: token}
		return true, nil
	})
}

func (o *Once) finish(ctx context.Context, token Token, result []byte) error {
	_, err := o.r.update(ctx, "", func(_ context.Context, s *seen[onceState]) (bool, error) {
		if s.state.Token != token {
			return false, errOvertaken
		}
		s.state.Done, s.state.Result = true, result
		return true, nil
	})
	return err
}

// errOvertaken: what this run comes to is no longer wanted.
var errOvertaken = fmt.Errorf("%w: a later run has begun", ErrLost)

// longest is how many bytes a result may have: in the record it takes a third more.
func (o *Once) longest() int {
	limit := MaxValue
	if most := o.r.m.c.info.MaxValue; most > 0 {
		limit = min(limit, most)
	}
	return limit/4*3 - 1024
}
