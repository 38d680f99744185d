package lockstep_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func TestFixedTermOutlivesItsClientAndEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		start := time.Now()
		l, err := c.Mutex("tick").LockFor(t.Context(), time.Minute)
		wantNo(t, err)
		wantNo(t, c.Close())
		wantErr(t, l.Err(), lockstep.ErrClosed)
		_, err = s.client().Mutex("tick").TryLockFor(t.Context(), time.Minute)
		wantErr(t, err, lockstep.ErrHeld)
		lock(t, s.client().Mutex("tick"))
		if took := time.Since(start); took != time.Minute {
			t.Errorf("it ended after %v", took)
		}
	})
}

func TestFixedTermIsNotRenewedAndItsWindowClosesBeforeTheEngineLetsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		start := time.Now()
		l, err := c.Mutex("tick").LockFor(t.Context(), time.Minute)
		wantNo(t, err)
		<-l.Context().Done()
		if got, want := time.Since(start), time.Minute-lockstep.Margin(time.Minute); got != want {
			t.Errorf("the window was %v; want %v", got, want)
		}
		wantErr(t, l.Err(), lockstep.ErrLost)
	})
}

func TestFixedTermSurvivesTheLossOfItsSession(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		l, err := c.Mutex("tick").LockFor(t.Context(), time.Minute)
		wantNo(t, err)
		r.set(func() { r.cut = true })
		time.Sleep(2 * ttl)
		wantNo(t, l.Err())
	})
}

func TestReleaseEndsAFixedTermEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		l, err := s.client().Mutex("tick").LockFor(t.Context(), time.Minute)
		wantNo(t, err)
		start := time.Now()
		wantNo(t, l.Release(t.Context()))
		lock(t, s.client().Mutex("tick"))
		if took := time.Since(start); took != 0 {
			t.Errorf("it took %v", took)
		}
	})
}

func TestFixedTermIsRefusedWhereTheEngineHasNone(t *testing.T) {
	s := newService(t)
	c := s.over(&rig{Engine: s.s.Engine(), info: func(i *engine.Info) { i.FixedTerm = false }})
	_, err := c.Mutex("tick").LockFor(t.Context(), time.Minute)
	wantErr(t, err, lockstep.ErrUnsupported)
}

func TestFixedTermHasBounds(t *testing.T) {
	c := newService(t).client()
	for _, d := range []time.Duration{0, -time.Second, time.Millisecond, lockstep.MaxTerm + 1} {
		_, err := c.Mutex("tick").LockFor(t.Context(), d)
		wantErr(t, err, lockstep.ErrInvalid)
	}
}

func TestWaitThatTakesTooLongSaysWhoHoldsIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		holder := lock(t, s.client().Mutex("n", lockstep.WithNote([]byte("the holder"))))
		start := time.Now()
		_, err := s.client().Mutex("n", lockstep.WithWait(time.Second)).Lock(t.Context())
		wantErr(t, err, lockstep.ErrHeld)
		if took := time.Since(start); took != time.Second {
			t.Errorf("it waited %v", took)
		}
		held := heldBy(t, err)
		if held.Line.Name != "n" || held.Line.Holders[0].ID != holder.ID() || string(held.Line.Holders[0].Note) != "the holder" {
			t.Errorf("held by %+v", held.Line)
		}
	})
}

func TestWaitThatCannotAskSaysUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, r := newService(t).rigged()
		r.begin = func(ctx context.Context, _ beginFunc) (engine.Session, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}
		r.Engine = deaf{r.Engine}
		_, err := c.Mutex("n", lockstep.WithWait(time.Second)).Lock(t.Context())
		wantErr(t, err, lockstep.ErrUnavailable)
	})
}

// deaf answers no question about a line.
type deaf struct{ engine.Engine }

func (deaf) Line(ctx context.Context, _ string) (engine.Line, error) {
	<-ctx.Done()
	return engine.Line{}, ctx.Err()
}

func TestWaitDoesNotBoundTheFunction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		wantNo(t, c.Mutex("n", lockstep.WithWait(time.Second)).Do(t.Context(), func(ctx context.Context) error {
			time.Sleep(time.Minute)
			return ctx.Err()
		}))
	})
}
