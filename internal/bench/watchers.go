package main

import (
	"context"
	"errors"
	"fmt"
	"iter"

	"github.com/redis/go-redis/v9"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep"
)

// watchersTable is from a put to the last of many watchers in one process: ours, who
// share one watch at the server, beside as many of the server's own.
func watchersTable() table {
	var rows []row
	for _, n := range []int{1, 10, 100, 1000, 10_000} {
		rows = append(rows, comparison{
			what: fmt.Sprintf("etcd: put → the last of %d watchers", n), unit: microseconds,
			ours: watches("Lockstep", n, oursOn(startEtcd)), peer: watches("a watch each", n, etcdRaw),
		})
	}
	for _, n := range []int{1, 10, 100, 1000} { // each is a connection
		rows = append(rows, comparison{
			what: fmt.Sprintf("redis: put → the last of %d watchers", n), unit: microseconds,
			ours: watches("Lockstep", n, oursOn(startRedis)), peer: watches("a subscription each", n, redisRaw),
		})
	}
	return table{"watchers", rows}
}

const watchedKey = "key"

// watched is a service with something to put, and a way to watch it: watch yields
// false once it watches, and true for each put.
type watched struct {
	put   func(ctx context.Context, value []byte) error
	watch func(ctx context.Context) iter.Seq[bool]
	stop  func() error
}

func watches(name string, n int, open func() (watched, error)) contender {
	return contender{name, func(b *bench) (sampler, error) {
		s, err := open()
		if err != nil {
			return nil, err
		}
		return newCrowd(b, n, s), nil
	}}
}

// oursOver is our watches of one map.
func oursOver(c *lockstep.Client, stop func() error) watched {
	m := c.Map(watchedMap)
	return watched{
		put: func(ctx context.Context, value []byte) error {
			_, err := m.Put(ctx, watchedKey, value)
			return err
		},
		watch: func(ctx context.Context) iter.Seq[bool] {
			return func(yield func(bool) bool) {
				for change, err := range m.Watch(ctx) {
					if err != nil || !yield(change.Op != lockstep.OpNone && !change.Snapshot) {
						return
					}
				}
			}
		},
		stop: func() error { return errors.Join(c.Close(), stop()) },
	}
}

// oursOn is our watches on a server of their own.
func oursOn[S server](start func() (S, error)) func() (watched, error) {
	return func() (watched, error) {
		s, err := start()
		if err != nil {
			return watched{}, err
		}
		c, err := openURL(s.URL())(context.Background())
		if err != nil {
			return watched{}, errors.Join(err, s.stop())
		}
		return oursOver(c, s.stop), nil
	}
}

func etcdRaw() (watched, error) {
	s, err := startEtcd()
	if err != nil {
		return watched{}, err
	}
	c, err := dialEtcd(s.URL())
	if err != nil {
		return watched{}, errors.Join(err, s.stop())
	}
	return watched{
		put: func(ctx context.Context, value []byte) error {
			_, err := c.Put(ctx, watchedKey, string(value))
			return err
		},
		watch: func(ctx context.Context) iter.Seq[bool] {
			return func(yield func(bool) bool) {
				for r := range c.Watch(ctx, watchedKey, clientv3.WithCreatedNotify()) {
					if r.Err() != nil || !yield(!r.Created) {
						return
					}
				}
			}
		},
		stop: func() error { return errors.Join(c.Close(), s.stop()) },
	}, nil
}

// redisRaw publishes: it keeps nothing.
func redisRaw() (watched, error) {
	s, err := startRedis()
	if err != nil {
		return watched{}, err
	}
	c := newGoRedis(s.Addr)
	return watched{
		put: func(ctx context.Context, value []byte) error { return c.Publish(ctx, watchedKey, value).Err() },
		watch: func(ctx context.Context) iter.Seq[bool] {
			return func(yield func(bool) bool) {
				sub := c.Subscribe(ctx, watchedKey)
				stop := context.AfterFunc(ctx, func() { sub.Close() })
				defer stop()
				defer sub.Close()
				for {
					m, err := sub.Receive(ctx)
					if err != nil {
						return
					}
					if _, put := m.(*redis.Message); !yield(put) {
						return
					}
				}
			}
		},
		stop: func() error { return errors.Join(c.Close(), s.stop()) },
	}, nil
}
