package main

import (
	"errors"

	"github.com/go-zookeeper/zk"
)

// Hand-offs as in redis_handoff.go. The other process waits when the server has
// received something and then nothing more.

func zkRelay(s *zkServer, kind string) contender {
	return contender{kind, func(b *bench) (sampler, error) {
		l, err := openLocker(kind, s.url)
		if err != nil {
			return nil, err
		}
		other, err := start("redis-waiter", job{URL: s.url, Kind: kind})
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		return &relay{b.count(handOffs), &zkGiver{locker: l, server: s}, other}, nil
	}}
}

type zkGiver struct {
	*locker

	server       *zkServer
	unlock       func() error
	before, last int
}

func (g *zkGiver) take() (err error) {
	g.unlock, err = g.lock(lockName)
	g.before = g.server.Packets()
	g.last = g.before
	return err
}

func (g *zkGiver) waited() (bool, error) {
	now := g.server.Packets()
	quiet := now == g.last && now > g.before
	g.last = now
	if quiet {
		anyPhase()
	}
	return quiet, nil
}

func (g *zkGiver) give() error  { return g.unlock() }
func (g *zkGiver) close() error { return g.locker.close() }

// zkWatchRelay is from a put here to its event in another process.
func zkWatchRelay(s *zkServer) contender {
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

// A bare set, until another process has the event of its watch.

const rawSetEvent = "raw set → event"

const rawWatched = "/raw-watched"

func zkRawWatchRelay(s *zkServer) contender {
	return contender{rawSetEvent, func(b *bench) (sampler, error) {
		c, err := dialZK(s.url)
		if err != nil {
			return nil, err
		}
		if _, err := c.Create(rawWatched, []byte{}, zk.FlagPersistent, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
			c.Close()
			return nil, err
		}
		other, err := start("zk-watcher", job{URL: s.url})
		if err != nil {
			c.Close()
			return nil, err
		}
		return &relay{b.count(handOffs), rawSetter{c}, other}, nil
	}}
}

type rawSetter struct{ conn *zk.Conn }

func (rawSetter) take() error           { return nil }
func (rawSetter) waited() (bool, error) { anyPhase(); return true, nil }
func (r rawSetter) close() error        { r.conn.Close(); return nil }
func (r rawSetter) give() error {
	_, err := r.conn.Set(rawWatched, []byte("value"), -1)
	return err
}

// newRawWatcher watches anew after each event, as its user has to.
func newRawWatcher(j job) (worker, error) {
	c, err := dialZK(j.URL)
	if err != nil {
		return nil, err
	}
	_, _, events, err := c.GetW(rawWatched)
	if err != nil {
		c.Close()
		return nil, err
	}
	next := func() (int64, error) {
		ev := <-events
		at := monotonic()
		if ev.Err != nil {
			return 0, ev.Err
		}
		var err error
		_, _, events, err = c.GetW(rawWatched)
		return at, err
	}
	return waiterRole{next, func() error { c.Close(); return nil }}, nil
}
