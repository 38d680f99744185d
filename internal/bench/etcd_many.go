package main

import (
	"context"
	"errors"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// counted is the server as the rows of counted.go see it.
func (s *etcdServer) counted() counted {
	return counted{
		url: s.url, peer: etcdMutex, renewal: "three requests each", received: s.received, inLine: s.inLine, watches: s.watches,
		watching: "of the map",
	}
}

// inLine is how many claims there are: one key each.
func (s *etcdServer) inLine() (int, error) {
	client, err := dialEtcd(s.url)
	if err != nil {
		return 0, err
	}
	r, err := client.Get(context.Background(), lockName+"/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return 0, errors.Join(err, client.Close())
	}
	return int(r.Count), client.Close()
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
