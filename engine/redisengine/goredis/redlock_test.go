package goredis

import (
	"context"
	"crypto/rand"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// Redlock over go-redis: its nodes load scripts in a transaction, and kept out those
// that have just started, so the longest TTL here is a second.
func TestRedlockOverGoRedis(t *testing.T) {
	t.Parallel()
	var transports []redisengine.Transport
	var nodes []*redistest.Server
	for range 3 {
		s := redistest.Start(t)
		c := redis.NewClient(&redis.Options{Addr: s.Addr})
		t.Cleanup(func() { c.Close() })
		nodes, transports = append(nodes, s), append(transports, NewTransport(c))
	}
	e, err := redlock.FromTransports(t.Context(), transports, redlock.WithMaxTTL(time.Second))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	s, err := e.Begin(t.Context(), engine.SessionOptions{TTL: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	claim := func() *engine.Claim {
		return &engine.Claim{ID: engine.ClaimID(rand.Text()), Name: "n", Kind: engine.Mutex, Shares: 1, Limit: 1}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 45*time.Second)
	defer cancel()
	if g, err := s.Acquire(ctx, claim(), false); err == nil && uptime(t, nodes[0]) < 2 {
		t.Errorf("granted %+v by nodes that have just started", g)
	}
	for _, n := range nodes {
		for uptime(t, n) < 4 {
			time.Sleep(50 * time.Millisecond) // between two looks
		}
	}
	last := engine.Token(0)
	for range 3 {
		cl := claim()
		g, err := s.Acquire(ctx, cl, false)
		for err != nil && ctx.Err() == nil {
			g, err = s.Acquire(ctx, cl, true) // it looks again when the nodes said that they would take part
		}
		if err != nil || g.Token <= last {
			t.Fatalf("token %d after %d, %v", g.Token, last, err)
		}
		last = g.Token
		removed, err := s.Release(ctx, cl)
		if err != nil || !removed && time.Now().Before(g.Until) { // else it may have ended before
			t.Fatalf("release: %v, %v", removed, err)
		}
	}
}

// uptime is how many seconds the server says that it has run.
func uptime(t *testing.T, s *redistest.Server) int {
	t.Helper()
	info, _ := s.MustDo(t, "INFO", "server").(string)
	_, rest, _ := strings.Cut(info, "uptime_in_seconds:")
	digits, _, _ := strings.Cut(rest, "\r\n")
	n, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatal(err)
	}
	return n
}
