package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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

// zkCrowdRow is 100 waiters on one name, as in redis_crowd.go. A server counts pings
// among its requests; each client sends one every third of its session's timeout.
type zkCrowdRow struct{ server *zkServer }

func (zkCrowdRow) name() string { return redisCrowd100 }

func (c zkCrowdRow) measure(b *bench) ([]line, error) {
	ours, waits, renewals, err := c.count(b, ourLocker)
	if err != nil {
		return nil, err
	}
	theirs, theyWait, _, err := c.count(b, goZKLock)
	if err != nil {
		return nil, err
	}
	what := redisCrowd100 + ": "
	return []line{
		{
			what: what + "requests a hand-off", ours: plain.format(ours), peer: goZKLock, theirs: plain.format(theirs),
			target: target{atMost: 3}, got: ours,
		},
		{what: what + "requests while all only wait, pings among them", ours: perSecond.format(waits), peer: goZKLock, theirs: perSecond.format(theyWait)},
		{what: what + "of these, renewals", ours: perSecond.format(renewals)},
	}, nil
}

func (c zkCrowdRow) count(b *bench, kind string) (handOff, waiting, renewals float64, err error) {
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
	if err := until(func() (bool, error) { return c.inLine() > waiters, nil }); err != nil {
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
	ended := c.server.Packets()
	b.raw("%s\t%s: in %v of waiting %d requests, %d renewals of ours; in %d hand-offs %d requests",
		redisCrowd100, kind, idle, rested-before, seen.Renewals-seenBefore.Renewals, waiters, ended-rested)
	return float64(ended-rested) / float64(waiters), float64(rested-before) / idle.Seconds(),
		float64(seen.Renewals-seenBefore.Renewals) / idle.Seconds(), nil
}

func (c zkCrowdRow) census(all []*process) (int, counts, error) {
	seen, err := seenBy(all)
	return c.server.Packets(), seen, err
}

// inLine is how many claims there are: ephemeral nodes, two for each of ours and one
// for each session of ours.
func (c zkCrowdRow) inLine() int {
	text, err := c.server.Word("dump")
	if err != nil {
		return 0
	}
	n := 0
	for line := range strings.Lines(text) {
		if strings.Contains(line, "/bench/lock/_c_") {
			n++
		}
	}
	return n
}

// zkHoldRow is as in redis_hold.go.
type zkHoldRow struct{ server *zkServer }

func (zkHoldRow) name() string { return redisHeld }

func (h zkHoldRow) measure(b *bench) ([]line, error) {
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
		figure(what+"requests while only holding, pings among them", asked, perSecond, target{}),
		figure(what+"renewals, one request each", renewals, perSecond, target{}),
	}, nil
}

func (h zkHoldRow) hold(kind string, n int, idle time.Duration) (held heldReport, requests, renewals int64, err error) {
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
	asked := h.server.Packets()
	time.Sleep(idle)
	asked = h.server.Packets() - asked
	after, err := p.ask(order{Do: "count"})
	if err != nil {
		return held, 0, 0, err
	}
	r, err := p.ask(order{Do: "weigh"})
	return r.Held, int64(asked), after.Seen.Renewals - before.Seen.Renewals, err
}

// zkWatchersRow is many watchers of one map in one process, as in redis_watch.go.
type zkWatchersRow struct{ server *zkServer }

func (zkWatchersRow) name() string { return redisWatchers }

func (m zkWatchersRow) measure(b *bench) (lines []line, err error) {
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
	watches, err := m.watches()
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
		{what: what + "watches at the server: of the map's node its children and its data, and of its one key", ours: plain.format(watches)},
	}, nil
}

func (m zkWatchersRow) watches() (float64, error) {
	text, err := m.server.Word("wchs")
	if err != nil {
		return 0, err
	}
	_, rest, found := strings.Cut(text, "Total watches:")
	if !found {
		return 0, fmt.Errorf("wchs answers %q", text)
	}
	n, err := strconv.Atoi(strings.TrimSpace(rest))
	return float64(n), err
}
