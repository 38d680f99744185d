package torture

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// Every call obeys its own context at once, also where another call, which has
// all the time in the world, makes the connection that both need.
func TestACallObeysItsContextWhileAnotherConnects(t *testing.T) {
	s := redistest.Start(t)
	p := faultnet.New(t, s.Addr, faultnet.RESP)
	c := open(t, p.Addr+"?timeout=1h&dial-timeout=1h", time.Minute)
	release(t, lock(t, c.Mutex("n")))
	p.Blackhole()
	p.Cut() // and what connects again gets no answer

	patient, stop := context.WithCancel(t.Context())
	first := lockLater(patient, c.Mutex("patient"))
	for deadline := time.Now().Add(hang); p.Lost() == 0; {
		if time.Now().After(deadline) {
			t.Fatal("nobody connects")
		}
		time.Sleep(time.Millisecond) // between two looks
	}
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := c.Mutex("n").TryLock(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("TryLock in a black hole: %v, want its deadline", err)
			}
		})
	}
	returned := make(chan struct{})
	go func() { others.Wait(); close(returned) }()
	ends(t, returned, "calls whose deadlines have passed wait for another's connection")
	stop()
	left := make(chan struct{})
	go func() {
		defer close(left)
		if o := <-first; !errors.Is(o.err, context.Canceled) {
			t.Errorf("the patient one: %v, want its cancellation", o.err)
		}
	}()
	ends(t, left, "a call that was cancelled waits for its connection")
	p.Heal() // whatever was wrong: now they end
	<-returned
	<-left
}

// ends waits for what must happen without any help from the network, for far
// less than the hour that the network would take.
func ends(t *testing.T, happened <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-happened:
	case <-time.After(hang / 4):
		t.Error(what)
	}
}
