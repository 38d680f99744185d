package main

import (
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/engine/redisengine/redlock"
	"github.com/lockstep-go/lockstep/internal/clockshim"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// newRedlockWorld is a world whose engine is three servers that have run, by their
// clocks, for longer than what they may have forgotten counts.
func newRedlockWorld(t *testing.T) (*world, []*redistest.Server) {
	t.Helper()
	shim := clockshim.Build(t)
	nodes := make([]*redistest.Server, 3)
	hosts := make([]string, len(nodes))
	for i := range nodes {
		nodes[i] = redistest.StartWith(t, redistest.Options{Env: shim.Env()})
		hosts[i] = nodes[i].Addr
	}
	shim.Step(2 * redlock.MaxTTL)
	w := newWorld(t)
	w.url = "redlock://" + strings.Join(hosts, ",")
	return w, nodes
}

func TestOverRedlockOneProcessAtATimeRunsInOrderOfItsToken(t *testing.T) {
	w, nodes := newRedlockWorld(t)
	takeTurns(t, w, 3, 5)
	nodes[0].Kill()
	w.expect(0, "lock", "n", "--", "true")
	w.expect(64, "put", "n")
	w.expect(69, "put", "n", "a value") // only locks live here
	nodes[1].Kill()
	w.unusable("a majority is 2", "lock", "n", "--", "true")
}

func TestDoctorExaminesTheNodesOfARedlock(t *testing.T) {
	w, nodes := newRedlockWorld(t)
	out, _ := w.expect(0, "doctor")
	for _, part := range []string{"3 nodes survive the loss of 1", "clocks of the nodes are", "every node: it is a master", "appendonly"} {
		if !strings.Contains(out, part) {
			t.Errorf("it misses %q:\n%s", part, out)
		}
	}
	nodes[0].Restart()
	if out, _ := w.expect(0, "doctor"); !strings.Contains(out, "and takes part in") {
		t.Errorf("after a restart:\n%s", out)
	}
	_, port, _ := strings.Cut(nodes[1].Addr, ":")
	twice := w.url + ",localhost:" + port
	if out, _ := w.expect(1, "doctor", twice); !strings.Contains(out, "are one server") {
		t.Errorf("one server named twice:\n%s", out)
	}
	nodes[1].Kill()
	if out, _ := w.expect(0, "doctor"); !strings.Contains(out, "cannot be examined") {
		t.Errorf("with a node down:\n%s", out)
	}
}
