package locksteptest_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/locksteptest"
)

func lock(t *testing.T, c *locksteptest.Client, name string) *lockstep.Lease {
	t.Helper()
	l, err := c.Mutex(name).Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func wantErr(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v; want %v", err, want)
	}
}

// ends waits for a context, with a guard that only fails.
func ends(ctx context.Context, t *testing.T) {
	t.Helper()
	select {
	case <-ctx.Done():
	case <-time.After(45 * time.Second):
		t.Fatal("the context did not end")
	}
}

func TestALeaseIsLostOnDemandAndNoOther(t *testing.T) {
	c := locksteptest.New(t, lockstep.WithPrefix("app/"))
	lost, kept := lock(t, c, "a"), lock(t, c, "b")
	ctx := lost.Context()
	c.Lose(lost)
	wantErr(t, lost.Err(), lockstep.ErrLost)
	ends(ctx, t)
	if err := kept.Err(); err != nil {
		t.Errorf("the other lease: %v", err)
	}
	if next := lock(t, c.Service().Client(lockstep.WithPrefix("app/")), "a"); next.Token() <= lost.Token() {
		t.Errorf("token %d after %d", next.Token(), lost.Token())
	}
}

func TestASessionEndsOnDemandAndTheClientGoesOn(t *testing.T) {
	c := locksteptest.New(t)
	a, b := lock(t, c, "a"), lock(t, c, "b")
	c.EndSession()
	ends(a.Context(), t)
	ends(b.Context(), t)
	wantErr(t, b.Err(), lockstep.ErrLost)
	lock(t, c, "a")
}

func TestAClientThatIsCutOffBelievesUntilItsWindowCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := locksteptest.New(t)
		other := c.Service().Client()
		l := lock(t, c, "a")
		c.Cut()
		c.EndSession()
		next := lock(t, other, "a") // the service has let go: two believe now, and only tokens protect
		synctest.Wait()
		if err := l.Err(); err != nil {
			t.Errorf("it was told although it is cut off: %v", err)
		}
		if next.Token() <= l.Token() {
			t.Errorf("token %d after %d", next.Token(), l.Token())
		}
		time.Sleep(c.TTL())
		wantErr(t, l.Err(), lockstep.ErrLost)
		c.Heal()
		wantErr(t, l.Release(t.Context()), lockstep.ErrLost)
		if err := next.Err(); err != nil {
			t.Errorf("the next lease: %v", err)
		}
	})
}

func TestWhatWaitsOverACutGoesOnAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := locksteptest.New(t)
		l := lock(t, c.Service().Client(), "a")
		got := make(chan *lockstep.Lease, 1)
		go func() { got <- lock(t, c, "a") }()
		synctest.Wait()
		c.Cut()
		if err := l.Release(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(c.TTL() / 2)
		if len(got) > 0 {
			t.Error("an answer came through the cut")
		}
		c.Heal()
		<-got
	})
}

func TestACallIsDelayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := locksteptest.New(t)
		lock(t, c, "warm")
		c.Delay(time.Second)
		began := time.Now()
		lock(t, c, "a")
		if took := time.Since(began); took != time.Second {
			t.Errorf("it took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
		defer cancel()
		_, err := c.Mutex("b").Lock(ctx)
		wantErr(t, err, context.DeadlineExceeded)
	})
}

func TestClocksAreMovedOnDemand(t *testing.T) {
	c := locksteptest.New(t, lockstep.WithTTL(time.Hour))
	other := c.Service().Client(lockstep.WithTTL(24 * time.Hour))
	l := lock(t, c, "a")
	next := make(chan *lockstep.Lease, 1)
	go func() { next <- lock(t, other, "a") }()
	term, err := c.Mutex("term").LockFor(t.Context(), 2*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c.Service().Advance(time.Minute)
	if err := l.Err(); err != nil {
		t.Fatalf("after a minute of an hour: %v", err)
	}
	ctx := l.Context()
	c.Service().Advance(time.Hour)
	wantErr(t, l.Err(), lockstep.ErrLost)
	ends(ctx, t)
	<-next
	if err := term.Err(); err != nil {
		t.Errorf("a term of two hours, after one: %v", err)
	}
	c.Service().Advance(time.Hour)
	wantErr(t, term.Err(), lockstep.ErrLost)
	lock(t, other, "term")
}

// By the clock: whoever was stopped learns it from the first look.
func TestAWindowIsClosedWhenTheClockSaysSo(t *testing.T) {
	c := locksteptest.New(t, lockstep.WithTTL(time.Hour))
	l := lock(t, c, "a")
	c.Cut() // nothing tells it but the clock
	ctx := l.Context()
	c.Service().Advance(2 * time.Hour)
	wantErr(t, l.Err(), lockstep.ErrLost)
	ends(ctx, t)
}

func TestAServiceThatForgetsHasNothing(t *testing.T) {
	c := locksteptest.New(t)
	if _, err := c.Map("m").Put(t.Context(), "a", nil); err != nil {
		t.Fatal(err)
	}
	l := lock(t, c, "a")
	c.Service().Forget()
	ends(l.Context(), t)
	_, err := c.Map("m").Get(t.Context(), "a")
	wantErr(t, err, lockstep.ErrNotFound)
}
