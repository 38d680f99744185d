package zktest

import (
	"os"
	"testing"

	"github.com/lockstep-go/lockstep/internal/childproc"
)

func TestAServerServesIsPausedKilledAndStartedAgain(t *testing.T) {
	s := Start(t, Options{})
	if m := s.Mode(); m != "standalone" {
		t.Fatalf("mode %q", m)
	}
	s.Pause()
	if !childproc.Stopped(s.Pid()) {
		t.Error("a paused server runs")
	}
	s.Continue()
	before := s.Pid()
	s.Restart()
	if m := s.Mode(); m != "standalone" || s.Pid() == before {
		t.Errorf("started again: mode %q, process %d after %d", m, s.Pid(), before)
	}
}

func TestAnEnsembleHasALeaderAlsoThroughProxies(t *testing.T) {
	e := StartEnsemble(t, 3, Options{Proxied: true})
	leader, follower := e.Leader(), e.Follower()
	if leader == follower || e.Link(follower, leader).Connections() == 0 {
		t.Errorf("leader %d, follower %d: it does not reach it through the proxy", leader.ID, follower.ID)
	}
}

func TestNothingIsLeftWhenATestEnds(t *testing.T) {
	Need(t)
	var s *Server
	t.Run("a server", func(t *testing.T) { s = Start(t, Options{}) })
	if !s.Ended() {
		t.Error("its process goes on")
	}
	if _, err := os.Stat(s.Dir); !os.IsNotExist(err) {
		t.Errorf("its folder: %v", err)
	}
}
