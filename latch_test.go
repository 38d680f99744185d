package lockstep_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/lockstep-go/lockstep"
)

func TestLatchOpensAtZeroForAllAndStaysOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		open := make(chan error, 3)
		for range 3 {
			l := s.client().Latch("ready", 2)
			go func() { open <- l.Wait(t.Context()) }()
		}
		for _, want := range []int{1, 0, 0} {
			synctest.Wait()
			if want > 0 && len(open) > 0 {
				t.Fatal("open before it was counted down")
			}
			left, err := s.client().Latch("ready", 2).CountDown(t.Context())
			wantNo(t, err)
			if left != want {
				t.Errorf("%d left; want %d", left, want)
			}
		}
		for range 3 {
			wantNo(t, <-open)
		}
		wantNo(t, s.client().Latch("ready", 2).Wait(t.Context()))
		left, err := s.client().Latch("ready", 2).Left(t.Context())
		wantNo(t, err)
		if left != 0 {
			t.Errorf("%d left", left)
		}
		wantNo(t, s.client().Latch("ready", 2).Delete(t.Context()))
		left, err = s.client().Latch("ready", 2).Left(t.Context())
		wantNo(t, err)
		if left != 2 {
			t.Errorf("%d left of a latch that was deleted", left)
		}
	})
}

func TestLatchRefusesAnotherNumber(t *testing.T) {
	c := newService(t).client()
	_, err := c.Latch("ready", 2).CountDown(t.Context())
	wantNo(t, err)
	_, err = c.Latch("ready", 3).CountDown(t.Context())
	wantErr(t, err, lockstep.ErrMismatch)
	wantErr(t, c.Latch("ready", 3).Wait(t.Context()), lockstep.ErrMismatch)
	_, err = c.Latch("ready", 0).CountDown(t.Context())
	wantErr(t, err, lockstep.ErrInvalid)
	wantErr(t, c.Latch("ready", 0).Wait(t.Context()), lockstep.ErrInvalid)
	wantErr(t, new(lockstep.Latch).Wait(t.Context()), lockstep.ErrInvalid)
}

func TestCountDownsWithOneIDAreOne(t *testing.T) {
	c := newService(t).client()
	for range 2 {
		wantNo(t, c.Latch("ready", 3).CountDownAs(t.Context(), "worker 1"))
	}
	left, err := c.Latch("ready", 3).Left(t.Context())
	wantNo(t, err)
	if left != 2 {
		t.Errorf("%d left; want 2", left)
	}
}

func TestWaitingForALatchEndsWithItsCaller(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wantErr(t, newService(t).client().Latch("ready", 1).Wait(ctx), context.Canceled)
}
