package lockstep

import (
	"context"
	"fmt"
)

// Latch opens once it was counted down from n to zero, for everyone who waits for
// it and everyone who comes later. It stays open until it is deleted. A Latch is
// a stateless handle; its count belongs to no session, so a crash takes nothing
// back. Errors are those of [Map].
type Latch struct {
	r record[latchState]
	n int
}

type latchState struct {
	N    int `json:"n"`
	Left int `json:"left"`
}

// Latch is the latch with this name. All who use the name must give the same n:
// others get [ErrMismatch]. A bad name is an error of its first use.
func (c *Client) Latch(name string, n int) *Latch {
	return &Latch{newRecord[latchState](c, "latch", name, 0), n}
}

// CountDown takes one off, once, however often its request has to be sent, and
// returns what is left. At zero it changes nothing.
func (l *Latch) CountDown(ctx context.Context) (left int, err error) { return l.down(ctx, "") }

// CountDownAs is CountDown for whoever may have to ask again, after an error or a
// crash: within an hour all of a latch with the same id, up to 64 bytes, are one.
func (l *Latch) CountDownAs(ctx context.Context, id string) error {
	_, err := l.down(ctx, id)
	return err
}

func (l *Latch) down(ctx context.Context, id string) (int, error) {
	s, err := l.r.update(ctx, id, func(_ context.Context, s *seen[latchState]) (bool, error) {
		left, err := l.left(*s)
		if err != nil || left == 0 {
			return false, err
		}
		s.state = latchState{N: l.n, Left: left - 1}
		return true, nil
	})
	return s.state.Left, failed("count down latch", l.r.m.name, err)
}

// left reads a record; one that is not there has everything left.
func (l *Latch) left(s seen[latchState]) (int, error) {
	switch {
	case l.n < 1:
		return 0, invalidf("a latch of %d; it counts down from 1 or more", l.n)
	case s.revision == 0:
		return l.n, nil
	case s.state.N != l.n:
		return 0, &MismatchError{Name: l.r.m.name, Detail: fmt.Sprintf("the latch counts down from %d, not from %d", s.state.N, l.n)}
	}
	return s.state.Left, nil
}

// Left is how often it has yet to be counted down.
func (l *Latch) Left(ctx context.Context) (left int, err error) {
	s, err := l.r.load(ctx)
	if err == nil {
		left, err = l.left(s)
	}
	return left, failed("look at latch", l.r.m.name, err)
}

// Wait waits until it is open, or ctx ends.
func (l *Latch) Wait(ctx context.Context) error {
	_, err := l.r.wait(ctx, func(s seen[latchState]) (bool, error) {
		left, err := l.left(s)
		return left == 0, err
	})
	return failed("wait for latch", l.r.m.name, err)
}

// Delete closes it again: its count begins anew. Who still waits then may not have
// seen that it was open.
func (l *Latch) Delete(ctx context.Context) error {
	return failed("delete latch", l.r.m.name, l.r.remove(ctx))
}
