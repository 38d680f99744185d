package etcdtest

import (
	"testing"
	"time"
)

// leaderBut waits for a leader that is not this member.
func leaderBut(t *testing.T, c *Cluster, old int) int {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		for i, m := range c.Members {
			if is, err := m.Status(); i != old && err == nil && is.Leader == is.Header.MemberID {
				return i
			}
		}
	}
	t.Fatal("no other leader")
	return 0
}

func TestALeaderThatIsCutOffIsReplacedAndComesBack(t *testing.T) {
	c := StartWith(t, Options{Members: 3, Peers: true, Args: []string{"--unsafe-no-fsync"}})
	old, ok := c.Leader()
	if !ok {
		t.Fatal("no leader")
	}
	c.Peers.Isolate(old)
	leaderBut(t, c, old)
	c.Peers.Heal()
	c.Members[old].Ready()
}

func TestAMemberIsKilledStoppedAndStartedAgain(t *testing.T) {
	m := Start(t)
	m.Pause()
	m.Continue()
	m.Ready()
	m.Kill()
	m.Start()
	m.Ready()
}
