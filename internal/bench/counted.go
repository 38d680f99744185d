package main

import (
	"errors"
	"os"
	"path/filepath"
	"time"
)

// newTurns is processes that take turns by what a URL serves.
func newTurns(b *bench, url, kind string, processes int) (*turns, error) {
	dir, err := b.folder("turns")
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "last"), make([]byte, 8), 0o600); err != nil {
		return nil, err
	}
	all, err := startAll(processes, false, "redis-turns", job{Dir: dir, URL: url, Kind: kind})
	return &turns{all: all, span: b.while(turnsSpan)}, err
}

// counted is a server that tells how much it has been sent: ZooKeeper counts pings
// among its requests, of which each client sends one every third of its session's
// timeout; of etcd each message counts, so that a watch which is made, and one which
// ends, is one.
type counted struct {
	url      string
	peer     string // the lock of another library
	received func() (int64, error)
	inLine   func() (int, error) // claims on lockName
	watches  func() (float64, error)
	renewal  string // what one is, in requests
	watching string // what it watches for many watchers of one map
}

// countedCrowdRow is 100 waiters on one name, as in redis_crowd.go.
type countedCrowdRow struct{ server counted }

func (countedCrowdRow) name() string { return redisCrowd100 }

func (c countedCrowdRow) measure(b *bench) ([]line, error) {
	ours, waits, renewals, err := c.count(b, ourLocker)
	if err != nil {
		return nil, err
	}
	theirs, theyWait, _, err := c.count(b, c.server.peer)
	if err != nil {
		return nil, err
	}
	what := redisCrowd100 + ": "
	return []line{
		{
			what: what + "requests a hand-off", ours: plain.format(ours), peer: c.server.peer, theirs: plain.format(theirs),
			target: target{atMost: 3}, got: ours,
		},
		{what: what + "requests while all only wait", ours: perSecond.format(waits), peer: c.server.peer, theirs: perSecond.format(theyWait)},
		{what: what + "of these, renewals", ours: perSecond.format(renewals)},
	}, nil
}

func (c countedCrowdRow) count(b *bench, kind string) (handOff, waiting, renewals float64, err error) {
	processes, each := crowdProcesses, crowdEach
	if b.smoke {
		processes, each = 2, 2
	}
	holder, err := openLocker(kind, c.server.url)
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, holder.close()) }()
	unlock, err := holder.lock(lockName)
	if err != nil {
		return 0, 0, 0, err
	}
	all, err := startAll(processes, false, "redis-crowd", job{URL: c.server.url, Kind: kind, N: each})
	if err != nil {
		return 0, 0, 0, err
	}
	defer func() { err = errors.Join(err, closeAll(all)) }()
	waiters := processes * each
	if _, err := askAll(all, order{Do: "enter"}); err != nil {
		return 0, 0, 0, err
	}
	if err := until(func() (bool, error) { n, err := c.server.inLine(); return n > waiters, err }); err != nil {
		return 0, 0, 0, err
	}
	idle := b.while(crowdIdle)
	time.Sleep(b.while(crowdSettles))
	before, seenBefore, err := c.census(all)
	if err != nil {
		return 0, 0, 0, err
	}
	time.Sleep(idle)
	rested, seen, err := c.census(all)
	if err != nil {
		return 0, 0, 0, err
	}
	if err := unlock(); err != nil {
		return 0, 0, 0, err
	}
	if err := until(func() (bool, error) {
		now, err := seenBy(all)
		return now.Done == waiters, err
	}); err != nil {
		return 0, 0, 0, err
	}
	ended, err := c.server.received()
	if err != nil {
		return 0, 0, 0, err
	}
	b.raw("%s\t%s: in %v of waiting %d requests, %d renewals of ours; in %d hand-offs %d requests",
		redisCrowd100, kind, idle, rested-before, seen.Renewals-seenBefore.Renewals, waiters, ended-rested)
	return float64(ended-rested) / float64(waiters), float64(rested-before) / idle.Seconds(),
		float64(seen.Renewals-seenBefore.Renewals) / idle.Seconds(), nil
}

func (c countedCrowdRow) census(all []*process) (int64, counts, error) {
	seen, err := seenBy(all)
	if err != nil {
		return 0, seen, err
	}
	n, err := c.server.received()
	return n, seen, err
}

// countedHoldRow is as in redis_hold.go.
type countedHoldRow struct{ server counted }

func (countedHoldRow) name() string { return redisHeld }

func (h countedHoldRow) measure(b *bench) ([]line, error) {
	n, idle := b.count(heldLeases), b.while(holdFor)
	var above, whole, goroutines, asked, renewals []float64
	for range b.count(holdTrials) {
		with, requests, renewed, err := h.hold("lockstep", n, idle)
		if err != nil {
			return nil, err
		}
		without, _, _, err := h.hold("engine", n, 0)
		if err != nil {
			return nil, err
		}
		above, whole = append(above, with.Bytes-without.Bytes), append(whole, with.Bytes)
		goroutines = append(goroutines, float64(with.Goroutines))
		asked = append(asked, float64(requests)/idle.Seconds())
		renewals = append(renewals, float64(renewed)/idle.Seconds())
		b.raw("%s\tLockstep %.0f B, the engine alone %.0f B a lease; %d goroutines; in %v %d requests, %d renewals",
			redisHeld, with.Bytes, without.Bytes, with.Goroutines, idle, requests, renewed)
	}
	what := redisHeld + ": "
	return []line{
		figure(what+"heap + stack a lease, above the engine's", above, bytesEach, target{atMost: 1024, unit: " B"}),
		figure(what+"heap + stack a lease, the engine's among it", whole, bytesEach, target{}),
		figure(what+"goroutines for all of them", goroutines, plain, target{zero: true}),
		figure(what+"requests while only holding", asked, perSecond, target{}),
		figure(what+"renewals, "+h.server.renewal, renewals, perSecond, target{}),
	}, nil
}

func (h countedHoldRow) hold(kind string, n int, idle time.Duration) (held heldReport, requests, renewals int64, err error) {
	p, err := start("redis-hold", job{URL: h.server.url, Kind: kind, N: n})
	if err != nil {
		return held, 0, 0, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if _, err := p.ask(order{Do: "take"}); err != nil {
		return held, 0, 0, err
	}
	before, err := p.ask(order{Do: "count"})
	if err != nil {
		return held, 0, 0, err
	}
	began, err := h.server.received()
	if err != nil {
		return held, 0, 0, err
	}
	time.Sleep(idle)
	ended, err := h.server.received()
	if err != nil {
		return held, 0, 0, err
	}
	after, err := p.ask(order{Do: "count"})
	if err != nil {
		return held, 0, 0, err
	}
	r, err := p.ask(order{Do: "weigh"})
	return r.Held, ended - began, after.Seen.Renewals - before.Seen.Renewals, err
}

// countedWatchersRow is many watchers of one map in one process, as in redis_watch.go.
type countedWatchersRow struct{ server counted }

func (countedWatchersRow) name() string { return redisWatchers }

func (m countedWatchersRow) measure(b *bench) (lines []line, err error) {
	g, err := newPutter(m.server.url)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	p, err := start("redis-watchers", job{URL: m.server.url, N: b.count(localWatchers)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	first, spread, err := manyWatchersRow{what: redisWatchers}.puts(b, g, p)
	if err != nil {
		return nil, err
	}
	watches, err := m.server.watches()
	if err != nil {
		return nil, err
	}
	what := redisWatchers + ": "
	s := over(spread)
	return []line{
		{what: what + "put → event of the first", ours: microseconds.format(median(first))},
		{
			what: what + "the last's after the first's", ours: microseconds.format(s.median),
			target: target{atMost: 2000, unit: " µs"}, got: s.median,
		},
		{what: what + "watches at the server: " + m.server.watching, ours: plain.format(watches)},
	}, nil
}
