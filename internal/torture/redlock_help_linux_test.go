package torture

import (
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock"
	"github.com/lockstep-go/lockstep/internal/clockshim"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// nodes are the servers of a Redlock. Their clocks are stepped right after they
// have started: they have run for long enough to vote, and remember all.
type nodes []*redistest.Server

func startNodes(t *testing.T, n int) nodes {
	t.Helper()
	shim := clockshim.Build(t)
	all := make(nodes, n)
	for i := range all {
		all[i] = redistest.StartWith(t, redistest.Options{Env: shim.Env()})
	}
	shim.Step(2 * redlock.MaxTTL)
	return all
}

func (n nodes) url() string {
	hosts := make([]string, len(n))
	for i, s := range n {
		hosts[i] = s.Addr
	}
	return "redlock://" + strings.Join(hosts, ",")
}

// openRedlock is a client as a program of a user's has it.
func openRedlock(t *testing.T, n nodes, ttl time.Duration) *lockstep.Client {
	t.Helper()
	c, err := lockstep.Open(guarded(t, hang), n.url(), redlock.Driver,
		lockstep.WithTTL(ttl), lockstep.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
