//go:build unix

package main

import (
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/zktest"
)

// The command over a real ZooKeeper.

func newZKWorld(t *testing.T) (*world, *zktest.Server) {
	t.Helper()
	s := zktest.Start(t, zktest.Options{})
	w := newWorld(t)
	w.url = "zk://" + s.Addr + "/command"
	return w, s
}

func TestOverZooKeeperOneProcessAtATimeRunsInOrderOfItsToken(t *testing.T) {
	w, _ := newZKWorld(t)
	takeTurns(t, w, 4, 5)
}

func TestOverZooKeeperLocksAreSeenAndTakenAway(t *testing.T) {
	w, _ := newZKWorld(t)
	seeAndTakeAway(t, w, true)
}

func TestOverZooKeeperValuesAndTheDoctor(t *testing.T) {
	w, s := newZKWorld(t)
	shareValues(t, w)
	if out, _ := w.expect(0, "doctor", "zk://"+s.Addr); !strings.Contains(out, "stands alone") {
		t.Errorf("doctor: %s", out)
	}
	s.Kill()
	w.expect(69, "get", "m", "a")
}
