package main

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/etcdengine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
	"github.com/lockstep-go/lockstep/engine/zkengine"
)

// locker is a client of a service that can lock names, each client as its own users
// make it: with its defaults, but for what the contender's name says. Where the
// time that a lock lives is the caller's to choose, it is Lockstep's.
type locker struct {
	lock  func(name string) (unlock func() error, err error)
	close func() error
	// requests are the commands that it sends to a Redis; what it has scripts do is
	// not among them.
	requests []string
	// expires: nobody renews what it holds, unless its user does.
	expires bool
}

// lockers are the contenders by their names in the table.
var lockers = map[string]func(url string) (*locker, error){
	ourLocker: openLockstep,

	rawRueidis:       openRawRueidis,
	rawGoRedis:       openRawGoRedis,
	redsyncOnGoRedis: func(url string) (*locker, error) { return openRedsyncGoRedis(url) },
	redsyncOnRueidis: func(url string) (*locker, error) { return openRedsyncRueidis(url) },
	redislockDefault: func(url string) (*locker, error) { return openRedislock(url, nil) },
	redislockAt1ms: func(url string) (*locker, error) {
		return openRedislock(url, redislock.LinearBackoff(time.Millisecond))
	},
	redsyncAt1ms: func(url string) (*locker, error) {
		return openRedsyncRueidis(url, redsync.WithRetryDelay(time.Millisecond))
	},
	rueidislockDefault:       func(url string) (*locker, error) { return openRueidislock(url, 0) },
	rueidislockOfOneMajority: func(url string) (*locker, error) { return openRueidislock(url, 1) },

	ourRedlock:        openLockstep,
	redsyncOf5GoRedis: func(url string) (*locker, error) { return openRedsyncGoRedis(url) },
	redsyncOf5FailFast: func(url string) (*locker, error) {
		return openRedsyncGoRedis(url, redsync.WithFailFast(true))
	},
	redsyncOf5Rueidis: func(url string) (*locker, error) { return openRedsyncRueidis(url) },

	etcdMutex: openEtcdMutex,
	rawEtcd:   openRawEtcd,

	rawEtcdRing: openEtcdRing,

	goZKLock: openGoZK,
	rawZK:    openRawZK,
}

const ourLocker = "Lockstep"

func openLocker(kind, url string) (*locker, error) {
	open, known := lockers[kind]
	if !known {
		return nil, fmt.Errorf("nobody locks by %q", kind)
	}
	return open(url)
}

// hostsOf are the addresses in a server's URL, for those who read no such URLs.
func hostsOf(url string) []string {
	_, rest, _ := strings.Cut(url, "://")
	hosts, _, _ := strings.Cut(rest, "?")
	return strings.Split(hosts, ",")
}

// drivers are all that a URL here may be for.
var drivers = engine.Drivers{sqliteengine.Driver, redisengine.Driver, redlock.Driver, etcdengine.Driver, zkengine.Driver}

func serviceEngine(url string) (engine.Engine, error) {
	t, err := lockstep.ParseURL(url)
	if err != nil {
		return nil, err
	}
	return drivers.Open(context.Background(), t)
}

func serviceClient(url string) (*client, error) {
	e, err := serviceEngine(url)
	if err != nil {
		return nil, err
	}
	return newClient(e, countRenewals())
}

// renewed is how often clients of this process have renewed.
var renewed atomic.Int64

// countRenewals has renewed count those of a client.
func countRenewals() lockstep.Option {
	return lockstep.WithObserver(lockstep.Observer{Renewed: func(int, time.Duration) { renewed.Add(1) }})
}

func openLockstep(url string) (*locker, error) {
	c, err := serviceClient(url)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	return &locker{
		lock: func(name string) (func() error, error) {
			lease, err := c.Mutex(name).Lock(ctx)
			if err != nil {
				return nil, err
			}
			return func() error { return lease.Release(ctx) }, nil
		},
		close: c.close, requests: sends(),
	}, nil
}
