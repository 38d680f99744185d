package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/redis/rueidis"
)

// Hand-offs as in file_handoff.go. Whether the other process waits is seen at the
// server: it has sent something.
//
// That is also the moment from which a client that polls counts its milliseconds.
// So a release comes at any time of many polls, and not of the first one only.

const publishMessage = "publish → message"

const manyPolls = 10 * time.Millisecond

// anyPhase is a rest of all contenders alike, for those that wait sleep.
func anyPhase() { time.Sleep(rand.N(manyPolls)) }

func redisRelay(s *redisServer, kind string, n int) contender {
	return contender{kind, func(b *bench) (sampler, error) {
		g, err := newRedisGiver(s, kind)
		if err != nil {
			return nil, err
		}
		other, err := start("redis-waiter", job{URL: s.Addr, Kind: kind})
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
		return &relay{b.count(n), g, other}, nil
	}}
}

func newRedisGiver(s *redisServer, kind string) (giver, error) {
	if kind == publishMessage {
		c, err := newRueidis(s.Addr)
		return publisher{c}, err
	}
	l, err := openLocker(kind, s.Addr)
	return &redisGiver{locker: l, server: s}, err
}

type redisGiver struct {
	*locker

	server *redisServer
	unlock func() error
	before int64 // requests when it was taken
}

func (g *redisGiver) take() (err error) {
	if g.unlock, err = g.lock(lockName); err != nil {
		return err
	}
	g.before, err = g.server.requests(g.requests...)
	return err
}

func (g *redisGiver) waited() (bool, error) {
	now, err := g.server.requests(g.requests...)
	if err != nil || now == g.before {
		return false, err
	}
	anyPhase()
	return true, nil
}

func (g *redisGiver) give() error  { return g.unlock() }
func (g *redisGiver) close() error { return g.locker.close() }

func newRedisWaiter(j job) (worker, error) {
	if j.Kind == publishMessage {
		return newListener(j.URL)
	}
	l, err := openLocker(j.Kind, j.URL)
	if err != nil {
		return nil, err
	}
	return waiterRole{func() (int64, error) {
		unlock, err := l.lock(lockName)
		at := monotonic()
		if err != nil {
			return 0, err
		}
		return at, unlock()
	}, l.close}, nil
}

// The bare message: nothing is handed over faster by a Redis.

type publisher struct{ client rueidis.Client }

const benchChannel = "bench"

func (publisher) take() error           { return nil }
func (publisher) waited() (bool, error) { anyPhase(); return true, nil }
func (p publisher) close() error        { p.client.Close(); return nil }
func (p publisher) give() error {
	return p.client.Do(context.Background(), p.client.B().Publish().Channel(benchChannel).Message("go").Build()).Error()
}

func newListener(addr string) (worker, error) {
	c, err := newRueidis(addr)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	up, told, ended := make(chan struct{}, 1), make(chan int64, 1), make(chan error, 1)
	go func() {
		hooked := rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { up <- struct{}{} })
		ended <- c.Receive(hooked, c.B().Subscribe().Channel(benchChannel).Build(), func(rueidis.PubSubMessage) { told <- monotonic() })
	}()
	end := func() error {
		stop()
		<-ended //nolint:errcheck // it ends because it was stopped
		c.Close()
		return nil
	}
	select {
	case <-up:
	case <-time.After(10 * time.Second):
		return nil, errors.Join(errors.New("no subscription within 10 s"), end())
	}
	return waiterRole{func() (int64, error) { return <-told, nil }, end}, nil
}
