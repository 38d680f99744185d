package main

import (
	"context"
	"errors"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

type etcdServer struct {
	*etcdtest.Member
	hosting
	sessions
}

func startEtcd() (*etcdServer, error) {
	s := &etcdServer{}
	return s, s.host(func() int {
		s.Member = etcdtest.Start(s)
		return s.Pid()
	})
}

// received is how many messages the server has been sent, those in streams among
// them: a watch that is made or ended is one.
func (s *etcdServer) received([]string) (t tally, err error) {
	text, err := s.Metrics()
	if err != nil {
		return t, err
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "grpc_server_msg_received_total{") {
			continue
		}
		fields := strings.Fields(line)
		count, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return t, err
		}
		t.requests += int64(count)
	}
	return t, nil
}

func (s *etcdServer) waits(*locker) (func() (bool, error), error) { return quietSince(s) }

// queue counts the claims there are, the holder's among them: one key each.
func (s *etcdServer) queue(_ *locker, n int) (func() (bool, error), error) {
	return func() (bool, error) {
		client, err := dialEtcd(s.URL())
		if err != nil {
			return false, err
		}
		r, err := client.Get(context.Background(), lockName+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return false, errors.Join(err, client.Close())
		}
		return int(r.Count) > n, client.Close()
	}, nil
}

func (s *etcdServer) watches() (float64, error) {
	text, err := s.Metrics()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if n, found := strings.CutPrefix(line, "etcd_debugging_mvcc_watcher_total "); found {
			return strconv.ParseFloat(strings.TrimSpace(n), 64)
		}
	}
	return 0, errors.New("the server tells of no watches")
}
