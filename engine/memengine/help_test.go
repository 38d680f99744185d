package memengine

import (
	"context"
	"crypto/rand"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// world is a service and clients of it, in a bubble of its own time.
type world struct {
	*testing.T
	service *Service
}

func inBubble(t *testing.T, f func(w world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(world{t, NewService()}) })
}

func (w world) session(ttl time.Duration) *Session {
	w.Helper()
	e := w.service.Engine()
	s, err := e.Begin(w.Context(), engine.SessionOptions{TTL: ttl})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		s.End(context.Background(), nil)
		e.Close()
	})
	return s.(*Session)
}

func mutex(name string) *engine.Claim {
	return &engine.Claim{ID: engine.ClaimID(rand.Text()), Name: name, Kind: engine.Mutex, Shares: 1, Limit: 1}
}

func (w world) acquire(s *Session, c *engine.Claim) engine.Grant {
	w.Helper()
	g, err := s.Acquire(w.Context(), c, false)
	if err != nil {
		w.Fatalf("Acquire: %v", err)
	}
	return g
}

// outcome is what a blocked Acquire came to, and when.
type outcome struct {
	grant engine.Grant
	err   error
	at    time.Time
}

// wait begins an Acquire that blocks, and returns when it is in line.
func (w world) wait(s *Session, c *engine.Claim) <-chan outcome {
	w.Helper()
	done := make(chan outcome, 1)
	go func() {
		g, err := s.Acquire(w.Context(), c, false)
		done <- outcome{g, err, time.Now()}
	}()
	synctest.Wait()
	if len(done) > 0 {
		w.Fatalf("Acquire did not wait: %+v", <-done)
	}
	return done
}

func (w world) line(name string) engine.Line {
	w.Helper()
	l, err := w.service.Engine().Line(w.Context(), name)
	if err != nil {
		w.Fatal(err)
	}
	return l
}
