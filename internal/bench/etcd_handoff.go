package main

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Hand-offs as in redis_handoff.go. The other process waits when the server has
// received something and then nothing more.

func etcdRelay(s *etcdServer, kind string) contender {
	return contender{kind, func(b *bench) (sampler, error) {
		l, err := openLocker(kind, s.url)
		if err != nil {
			return nil, err
		}
		other, err := start("redis-waiter", job{URL: s.url, Kind: kind})
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		return &relay{b.count(handOffs), &etcdGiver{locker: l, server: s}, other}, nil
	}}
}

type etcdGiver struct {
	*locker

	server       *etcdServer
	unlock       func() error
	before, last int64
}

func (g *etcdGiver) take() (err error) {
	if g.unlock, err = g.lock(lockName); err != nil {
		return err
	}
	g.before, err = g.server.received()
	g.last = g.before
	return err
}

func (g *etcdGiver) waited() (bool, error) {
	now, err := g.server.received()
	quiet := now == g.last && now > g.before
	g.last = now
	if quiet {
		anyPhase()
	}
	return quiet, err
}

func (g *etcdGiver) give() error  { return g.unlock() }
func (g *etcdGiver) close() error { return g.locker.close() }

// etcdWatchRelay is from a put here to its event in another process.
func etcdWatchRelay(s *etcdServer) contender {
	return contender{ourLocker, func(b *bench) (sampler, error) {
		g, err := newPutter(s.url)
		if err != nil {
			return nil, err
		}
		other, err := start("redis-watcher", job{URL: s.url})
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
		return &relay{b.count(handOffs), g, other}, nil
	}}
}

// A bare delete or put, until another process has its event by a watch that is synced:
// nothing is handed over faster by an etcd.
const (
	rawDeleteEvent = "raw delete → event"
	rawPutEvent    = "raw put → event"

	rawEtcdKey = "raw-watched"
)

func etcdRawRelay(s *etcdServer, kind string) contender {
	return contender{kind, func(b *bench) (sampler, error) {
		c, err := dialEtcd(s.url)
		if err != nil {
			return nil, err
		}
		other, err := start("etcd-watcher", job{URL: s.url, Kind: kind})
		if err != nil {
			return nil, errors.Join(err, c.Close())
		}
		return &relay{b.count(handOffs), rawChange{c, kind}, other}, nil
	}}
}

type rawChange struct {
	client *clientv3.Client
	kind   string
}

func (r rawChange) take() error {
	if r.kind == rawPutEvent {
		return nil
	}
	return r.put()
}

func (r rawChange) put() error {
	_, err := r.client.Put(context.Background(), rawEtcdKey, "value")
	return err
}

func (rawChange) waited() (bool, error) { anyPhase(); return true, nil }
func (r rawChange) close() error        { return r.client.Close() }
func (r rawChange) give() error {
	if r.kind == rawPutEvent {
		return r.put()
	}
	_, err := r.client.Delete(context.Background(), rawEtcdKey)
	return err
}

func newEtcdWatcher(j job) (worker, error) {
	c, err := dialEtcd(j.URL)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	filter := clientv3.WithFilterPut()
	if j.Kind == rawPutEvent {
		filter = clientv3.WithFilterDelete()
	}
	events := c.Watch(ctx, rawEtcdKey, filter)
	next := func() (int64, error) {
		r, ok := <-events
		at := monotonic()
		if !ok {
			return 0, errors.New("the watch ended")
		}
		return at, r.Err()
	}
	return waiterRole{next, func() error { stop(); return c.Close() }}, nil
}
