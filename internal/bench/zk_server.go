package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/internal/zktest"
)

type zkServer struct {
	*zktest.Server
	hosting
	sessions
}

func startZK() (*zkServer, error) {
	s := &zkServer{}
	return s, s.host(func() int {
		s.Server = zktest.Start(s, zktest.Options{Tick: 2 * time.Second, JVM: []string{"-Xmx1g", "-XX:TieredStopAtLevel=4"}})
		return s.Pid()
	})
}

func (s *zkServer) URL() string { return "zk://" + s.Addr }

// received has pings among it, of which a client sends one in each third of its
// session's timeout. Ours has two sessions: the engine's and the lease holder's.
func (s *zkServer) received([]string) (tally, error) {
	packets, writes := s.Received()
	return tally{requests: int64(packets), pings: int64(packets - writes)}, nil
}

func (s *zkServer) waits(*locker) (func() (bool, error), error) { return quietSince(s) }

// queue counts the claims there are, the holder's among them: of its nodes each has
// one with this name.
func (s *zkServer) queue(_ *locker, n int) (func() (bool, error), error) {
	return func() (bool, error) {
		text, err := s.Word("dump")
		return strings.Count(text, "/bench/lock/_c_") > n, err
	}, nil
}

func (s *zkServer) watches() (float64, error) {
	text, err := s.Word("wchs")
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(text, "Total watches:")
	if !found {
		return 0, fmt.Errorf("wchs answers %q", text)
	}
	n, err := strconv.Atoi(strings.TrimSpace(rest))
	return float64(n), err
}
