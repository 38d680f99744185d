package main

import (
	"context"
	"strings"

	"github.com/go-redsync/redsync/v4"
	redsyncpool "github.com/go-redsync/redsync/v4/redis"
	redsyncgoredis "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	redsyncrueidis "github.com/go-redsync/redsync/v4/redis/rueidis"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis/rueidiscompat"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock"
)

// The contenders on five nodes. Their address is the longest TTL and the nodes'
// (redisNodes.addrs).
const (
	ourRedlock         = "Lockstep on Redlock"
	redsyncOf5GoRedis  = "redsync, go-redis, 5 nodes"
	redsyncOf5FailFast = "redsync, go-redis, fail fast, 5 nodes"
	redsyncOf5Rueidis  = "redsync, rueidis, 5 nodes"
)

func nodesOf(addrs string) (maxTTL string, nodes []string) {
	maxTTL, rest, _ := strings.Cut(addrs, ",")
	return maxTTL, strings.Split(rest, ",")
}

func openRedlock(addrs string) (*locker, error) {
	maxTTL, nodes := nodesOf(addrs)
	e, err := redlock.Driver.Open(context.Background(), engine.Target{
		Scheme: "redlock", Hosts: nodes, Params: map[string]string{"max-ttl": maxTTL},
	})
	if err != nil {
		return nil, err
	}
	c, err := newClient(e)
	if err != nil {
		return nil, err
	}
	return lockerOf(c), nil
}

func openRedsyncOf5GoRedis(addrs string, opts ...redsync.Option) (*locker, error) {
	_, nodes := nodesOf(addrs)
	var pools []redsyncpool.Pool
	var clients []*redis.Client
	for _, addr := range nodes {
		c := redis.NewClient(&redis.Options{Addr: addr})
		clients = append(clients, c)
		pools = append(pools, redsyncgoredis.NewPool(c))
	}
	return newRedsync(pools, func() error {
		var err error
		for _, c := range clients {
			if e := c.Close(); e != nil {
				err = e
			}
		}
		return err
	}, opts...), nil
}

func openRedsyncOf5Rueidis(addrs string) (*locker, error) {
	_, nodes := nodesOf(addrs)
	var pools []redsyncpool.Pool
	var ends []func()
	for _, addr := range nodes {
		c, err := newRueidis(addr)
		if err != nil {
			return nil, err
		}
		ends = append(ends, c.Close)
		pools = append(pools, redsyncrueidis.NewPool(rueidiscompat.NewAdapter(c)))
	}
	return newRedsync(pools, func() error {
		for _, end := range ends {
			end()
		}
		return nil
	}), nil
}
