package main

import (
	"context"
	"crypto/rand"
	"errors"
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
)

// The contenders on a Redis, and on five of them.

const redisTTL = lockstep.DefaultTTL

const (
	rawRueidis               = "raw rueidis"
	rawGoRedis               = "raw go-redis"
	redsyncOnGoRedis         = "redsync, go-redis"
	redsyncOnRueidis         = "redsync, rueidis"
	redsyncAt1ms             = "redsync at 1 ms"
	redislockDefault         = "redislock"
	redislockAt1ms           = "redislock at 1 ms"
	rueidislockDefault       = "rueidislock"
	rueidislockOfOneMajority = "rueidislock, majority 1"

	ourRedlock         = "Lockstep on Redlock"
	redsyncOf5GoRedis  = "redsync, go-redis, 5 nodes"
	redsyncOf5FailFast = "redsync, go-redis, fail fast, 5 nodes"
	redsyncOf5Rueidis  = "redsync, rueidis, 5 nodes"
)

// scripts and what every client sends by itself.
func sends(more ...string) []string {
	return append([]string{"evalsha", "eval", "ping", "hello", "client|tracking", "subscribe", "unsubscribe"}, more...)
}

func newRueidis(addr string) (rueidis.Client, error) {
	return rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}})
}

func newGoRedis(addr string) *redis.Client { return redis.NewClient(&redis.Options{Addr: addr}) }

var errNotOurs = errors.New("the key is not ours")

const compareAndDelete = `if redis.call("GET",KEYS[1]) == ARGV[1] then return redis.call("DEL",KEYS[1]) else return 0 end`

// openRawRueidis is a lock by hand: no token, nobody waits for it, nobody renews
// it.
func openRawRueidis(url string) (*locker, error) {
	c, err := newRueidis(hostsOf(url)[0])
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

func openRawGoRedis(url string) (*locker, error) {
	c := newGoRedis(hostsOf(url)[0])
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

// openRedsyncGoRedis locks on all servers of the URL, whether one or five.
func openRedsyncGoRedis(url string, opts ...redsync.Option) (*locker, error) {
	var pools []redsyncpool.Pool
	var ends []func() error
	for _, addr := range hostsOf(url) {
		c := newGoRedis(addr)
		ends = append(ends, c.Close)
		pools = append(pools, redsyncgoredis.NewPool(c))
	}
	return newRedsync(pools, ends, opts...), nil
}

func openRedsyncRueidis(url string, opts ...redsync.Option) (*locker, error) {
	var pools []redsyncpool.Pool
	var ends []func() error
	for _, addr := range hostsOf(url) {
		c, err := newRueidis(addr)
		if err != nil {
			return nil, errors.Join(err, endAll(ends))
		}
		ends = append(ends, func() error { c.Close(); return nil })
		pools = append(pools, redsyncrueidis.NewPool(rueidiscompat.NewAdapter(c)))
	}
	return newRedsync(pools, ends, opts...), nil
}

func endAll(ends []func() error) (err error) {
	for _, end := range ends {
		err = errors.Join(err, end())
	}
	return err
}

// newRedsync has so many tries that waiting never ends in an error.
func newRedsync(pools []redsyncpool.Pool, ends []func() error, opts ...redsync.Option) *locker {
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
		close: func() error { return endAll(ends) }, requests: sends("set"), expires: true,
	}
}

// openRedislock asks again where redislock gave up: it does after the TTL.
func openRedislock(url string, retry redislock.RetryStrategy) (*locker, error) {
	c := newGoRedis(hostsOf(url)[0])
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

func openRueidislock(url string, majority int32) (*locker, error) {
	l, err := rueidislock.NewLocker(rueidislock.LockerOption{
		ClientOption: rueidis.ClientOption{InitAddress: hostsOf(url)}, KeyMajority: majority, KeyValidity: redisTTL,
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
