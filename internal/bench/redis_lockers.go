package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/bsm/redislock"
	"github.com/go-redsync/redsync/v4"
	redsyncpool "github.com/go-redsync/redsync/v4/redis"
	redsyncgoredis "github.com/go-redsync/redsync/v4/redis/goredis/v9"
	redsyncrueidis "github.com/go-redsync/redsync/v4/redis/rueidis"
	"github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidiscompat"
	"github.com/redis/rueidis/rueidislock"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
)

// locker is a client of a Redis that can lock names, each client as its own users
// make it: with its defaults, but for what the contender's name says. Where the
// time that a lock lives is the caller's to choose, it is Lockstep's.
type locker struct {
	lock  func(name string) (unlock func() error, err error)
	close func() error
	// requests are the commands that it sends; what it has scripts do is not among
	// them.
	requests []string
	// expires: nobody renews what it holds, unless its user does.
	expires bool
}

const redisTTL = lockstep.DefaultTTL

// lockers are the contenders by their names in the table.
var lockers = map[string]func(addr string) (*locker, error){
	ourLocker:        openLockstep,
	rawRueidis:       openRawRueidis,
	rawGoRedis:       openRawGoRedis,
	redsyncOnGoRedis: openRedsyncGoRedis,
	redsyncOnRueidis: func(addr string) (*locker, error) { return openRedsyncRueidis(addr) },
	"redislock":      func(addr string) (*locker, error) { return openRedislock(addr, nil) },
	redislockAt1ms: func(addr string) (*locker, error) {
		return openRedislock(addr, redislock.LinearBackoff(time.Millisecond))
	},
	redsyncAt1ms: func(addr string) (*locker, error) {
		return openRedsyncRueidis(addr, redsync.WithRetryDelay(time.Millisecond))
	},
	rueidislockDefault:       func(addr string) (*locker, error) { return openRueidislock(addr, 0) },
	rueidislockOfOneMajority: func(addr string) (*locker, error) { return openRueidislock(addr, 1) },

	ourRedlock:        openRedlock,
	redsyncOf5GoRedis: func(addrs string) (*locker, error) { return openRedsyncOf5GoRedis(addrs) },
	redsyncOf5FailFast: func(addrs string) (*locker, error) {
		return openRedsyncOf5GoRedis(addrs, redsync.WithFailFast(true))
	},
	redsyncOf5Rueidis: openRedsyncOf5Rueidis,

	etcdMutex: openEtcdMutex,
	rawEtcd:   openRawEtcd,

	goZKLock: openGoZK,
	rawZK:    openRawZK,
}

const (
	ourLocker                = "Lockstep"
	rawRueidis               = "raw rueidis"
	rawGoRedis               = "raw go-redis"
	redsyncOnGoRedis         = "redsync, go-redis"
	redsyncOnRueidis         = "redsync, rueidis"
	redsyncAt1ms             = "redsync at 1 ms"
	redislockAt1ms           = "redislock at 1 ms"
	rueidislockDefault       = "rueidislock"
	rueidislockOfOneMajority = "rueidislock, majority 1"
)

func openLocker(kind, addr string) (*locker, error) {
	open, known := lockers[kind]
	if !known {
		return nil, fmt.Errorf("nobody locks by %q", kind)
	}
	return open(addr)
}

// scripts and what every client sends by itself.
func sends(more ...string) []string {
	return append([]string{"evalsha", "eval", "ping", "hello", "client|tracking", "subscribe", "unsubscribe"}, more...)
}

func redisEngine(addr string) (engine.Engine, error) {
	if host, ok := strings.CutPrefix(addr, etcdScheme); ok { // the same rows (etcd.go)
		return etcdEngine(host)
	}
	if hosts, ok := strings.CutPrefix(addr, zkScheme); ok { // the same rows (zk.go)
		return zkEngine(hosts)
	}
	return redisengine.Driver.Open(context.Background(), engine.Target{Scheme: "redis", Hosts: []string{addr}})
}

// renewed is how often clients of this process have renewed.
var renewed atomic.Int64

func redisClient(addr string) (*client, error) {
	e, err := redisEngine(addr)
	if err != nil {
		return nil, err
	}
	return newClient(e, countRenewals())
}

func openLockstep(addr string) (*locker, error) {
	c, err := redisClient(addr)
	if err != nil {
		return nil, err
	}
	return lockerOf(c), nil
}

func lockerOf(c *client) *locker {
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
	}
}

func newRueidis(addr string) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}})
}

var errNotOurs = errors.New("the key is not ours")

const compareAndDelete = `if redis.call("GET",KEYS[1]) == ARGV[1] then return redis.call("DEL",KEYS[1]) else return 0 end`

// openRawRueidis is a lock by hand: no token, nobody waits for it, nobody renews
// it.
func openRawRueidis(addr string) (*locker, error) {
	c, err := newRueidis(addr)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	script := rueidis.NewLuaScript(compareAndDelete)
	return &locker{
		lock: func(name string) (func() error, error) {
			id := rand.Text()
			if err := c.Do(ctx, c.B().Set().Key(name).Value(id).Nx().Px(redisTTL).Build()).Error(); err != nil {
				return nil, err
			}
			return func() error {
				n, err := script.Exec(ctx, c, []string{name}, []string{id}).AsInt64()
				if err == nil && n != 1 {
					err = errNotOurs
				}
				return err
			}, nil
		},
		close: func() error { c.Close(); return nil }, requests: sends("set"),
	}, nil
}

func openRawGoRedis(addr string) (*locker, error) {
	c := redis.NewClient(&redis.Options{Addr: addr})
	ctx := context.Background()
	script := redis.NewScript(compareAndDelete)
	return &locker{
		lock: func(name string) (func() error, error) {
			id := rand.Text()
			if err := c.SetArgs(ctx, name, id, redis.SetArgs{Mode: "NX", TTL: redisTTL}).Err(); err != nil {
				return nil, err
			}
			return func() error {
				n, err := script.Run(ctx, c, []string{name}, id).Int()
				if err == nil && n != 1 {
					err = errNotOurs
				}
				return err
			}, nil
		},
		close: c.Close, requests: sends("set"),
	}, nil
}

func openRedsyncGoRedis(addr string) (*locker, error) {
	c := redis.NewClient(&redis.Options{Addr: addr})
	return newRedsync([]redsyncpool.Pool{redsyncgoredis.NewPool(c)}, c.Close), nil
}

func openRedsyncRueidis(addr string, opts ...redsync.Option) (*locker, error) {
	c, err := newRueidis(addr)
	if err != nil {
		return nil, err
	}
	pools := []redsyncpool.Pool{redsyncrueidis.NewPool(rueidiscompat.NewAdapter(c))}
	return newRedsync(pools, func() error { c.Close(); return nil }, opts...), nil
}

// newRedsync has so many tries that waiting never ends in an error.
func newRedsync(pools []redsyncpool.Pool, end func() error, opts ...redsync.Option) *locker {
	r := redsync.New(pools...)
	opts = append(opts, redsync.WithExpiry(redisTTL), redsync.WithTries(1<<20))
	return &locker{
		lock: func(name string) (func() error, error) {
			m := r.NewMutex(name, opts...)
			if err := m.Lock(); err != nil {
				return nil, err
			}
			return func() error {
				_, err := m.Unlock()
				return err
			}, nil
		},
		close: end, requests: sends("set"), expires: true,
	}
}

// openRedislock asks again where redislock gave up: it does after the TTL.
func openRedislock(addr string, retry redislock.RetryStrategy) (*locker, error) {
	c := redis.NewClient(&redis.Options{Addr: addr})
	l := redislock.New(c)
	ctx := context.Background()
	options := &redislock.Options{RetryStrategy: retry}
	return &locker{
		lock: func(name string) (func() error, error) {
			for {
				lock, err := l.Obtain(ctx, name, redisTTL, options)
				if err == nil {
					return func() error { return lock.Release(ctx) }, nil
				}
				if retry == nil || !errors.Is(err, context.DeadlineExceeded) {
					return nil, err
				}
			}
		},
		close: c.Close, requests: sends(), expires: true,
	}, nil
}

func openRueidislock(addr string, majority int32) (*locker, error) {
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption: rueidis.ClientOption{InitAddress: []string{addr}}, KeyMajority: majority, KeyValidity: redisTTL,
	})
	if err != nil {
		return nil, err
	}
	return &locker{
		lock: func(name string) (func() error, error) {
			for {
				unlock, err := patiently(l, name)
				if !errors.Is(err, context.Canceled) {
					return unlock, err
				}
			}
		},
		close: func() error { l.Close(); return nil }, requests: sends(),
	}, nil
}

// defaultSleepless is when rueidislock is asked anew: an acquire that took over 20 ms, or
// a message that was lost, has it sleep for ever on a name that is free.
const defaultSleepless = 2 * time.Second

// sleepless is another such time, where what is measured is waiting; 0: none.
var sleepless atomic.Int64

func patience() time.Duration {
	if d := time.Duration(sleepless.Load()); d > 0 {
		return d
	}
	return defaultSleepless
}

func patiently(l rueidislock.Locker, name string) (unlock func() error, err error) {
	ctx, stop := context.WithCancel(context.Background())
	wake := time.AfterFunc(patience(), stop)
	_, cancel, err := l.WithContext(ctx, name)
	if err != nil {
		return nil, err
	}
	if !wake.Stop() {
		cancel()
		return nil, context.Canceled
	}
	return func() error { cancel(); stop(); return nil }, nil
}
