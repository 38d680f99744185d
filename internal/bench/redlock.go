package main

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// redlockTable is five Redis that know nothing of each other. Its peer is redsync,
// whose layout it has; none of redsync's locks has a token.
func redlockTable() table {
	return table{"redlock", []row{
		onNodes{redlockUncontended, redlockUncontendedRow},
		onNodes{redlockNames, redlockNamesRow},
		stoppedRow{},
	}}
}

const (
	redlockUncontended = "lock + unlock on 5 nodes"
	redlockNames       = "16 goroutines on 16 names, 5 nodes, lock + unlock"
	redlockStopped     = "hand-off between 2 processes, 2 of 5 nodes stopped"
)

func redlockUncontendedRow(n *redisNodes) row {
	by := func(kind string) contender {
		return contender{kind, func(b *bench) (sampler, error) {
			p, err := startOn(clientCore(), "redis-lock", job{URL: n.addrs(), Kind: kind, N: b.count(redisCycles)})
			return lockProcess{p, func() order { return order{Do: "cycles"} }}, err
		}}
	}
	return contest{
		what: redlockUncontended, unit: microseconds, ours: by(ourRedlock), best: target{atMost: 1},
		peers: []rival{
			competitor(by(redsyncOf5GoRedis)),
			competitor(by(redsyncOf5FailFast)),
			competitor(by(redsyncOf5Rueidis)),
		},
	}
}

func redlockNamesRow(n *redisNodes) row {
	by := func(kind string) contender {
		return contender{kind, func(b *bench) (sampler, error) {
			p, err := start("redis-lock", job{URL: n.addrs(), Kind: kind, N: 16})
			span := b.while(redisSpan)
			return lockProcess{p, func() order { return order{Do: "many", At: monotonic() + int64(span)} }}, err
		}}
	}
	return contest{
		what: redlockNames, unit: perSecond, ours: by(ourRedlock), best: target{atLeast: 1.1},
		peers: []rival{
			competitor(by(redsyncOf5GoRedis)),
			competitor(by(redsyncOf5FailFast)),
			competitor(by(redsyncOf5Rueidis)),
		},
	}
}

// stoppedRow compares Lockstep with itself: two of its nodes are stopped in their
// tracks, or none is.
type stoppedRow struct{}

func (stoppedRow) name() string { return redlockStopped }

func (r stoppedRow) measure(b *bench) (lines []line, err error) {
	well, err := startNodes(b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, well.stop()) }()
	ill, err := startNodes(b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, ill.stop()) }()
	stop := func() {
		for _, s := range ill.all[:2] {
			s.Pause()
		}
	}
	return comparison{
		what: redlockStopped, unit: microseconds,
		ours:   redlockRelay(ill, ourRedlock, stop),
		peer:   redlockRelay(well, "Lockstep, all nodes well", func() {}),
		target: target{atMost: 1.2},
	}.measure(b)
}

// redlockRelay is hand-offs of Lockstep; befall happens once both sides are there.
func redlockRelay(n *redisNodes, name string, befall func()) contender {
	return contender{name, func(b *bench) (sampler, error) {
		l, err := openLocker(ourRedlock, n.addrs())
		if err != nil {
			return nil, err
		}
		other, err := start("redis-waiter", job{URL: n.addrs(), Kind: ourRedlock})
		if err != nil {
			return nil, errors.Join(err, l.close())
		}
		befall()
		return &relay{b.count(handOffs), &redlockGiver{locker: l, nodes: n}, other}, nil
	}}
}

// redlockGiver sees at the last three nodes whether the other side waits.
type redlockGiver struct {
	*locker

	nodes  *redisNodes
	unlock func() error
}

func (g *redlockGiver) take() (err error) {
	g.unlock, err = g.lock(lockName)
	return err
}

func (g *redlockGiver) waited() (bool, error) {
	for _, s := range g.nodes.all[2:] {
		waiting, err := s.Do("EXISTS", "{"+lockName+"}:lockstep:redlock:wait")
		if err != nil || waiting != int64(1) {
			return false, err
		}
	}
	anyPhase()
	return true, nil
}

func (g *redlockGiver) give() error  { return g.unlock() }
func (g *redlockGiver) close() error { return g.locker.close() }

// redisNodes are five servers, for one row.
type redisNodes struct {
	all    []*redisServer
	maxTTL time.Duration
}

// startNodes starts them, and waits until they have run for so long that they vote.
func startNodes(b *bench) (*redisNodes, error) {
	n := &redisNodes{maxTTL: redisTTL}
	if b.smoke {
		n.maxTTL = time.Second
	}
	for range 5 {
		s, err := startRedis()
		if err != nil {
			return nil, errors.Join(err, n.stop())
		}
		n.all = append(n.all, s)
	}
	for _, s := range n.all {
		if err := s.hasRun(n.maxTTL + 3*time.Second); err != nil {
			return nil, errors.Join(err, n.stop())
		}
	}
	return n, nil
}

// hasRun waits until the server says that it has run for so long.
func (s *redisServer) hasRun(d time.Duration) error {
	for {
		answer, err := s.Do("INFO", "server")
		if err != nil {
			return err
		}
		text, _ := answer.(string)
		_, rest, _ := strings.Cut(text, "uptime_in_seconds:")
		digits, _, _ := strings.Cut(rest, "\r\n")
		up, err := strconv.Atoi(digits)
		if err != nil {
			return fmt.Errorf("uptime: %w", err)
		}
		if time.Duration(up)*time.Second >= d {
			return nil
		}
		time.Sleep(100 * time.Millisecond) // between two looks
	}
}

func (n *redisNodes) stop() (err error) {
	for _, s := range n.all {
		err = errors.Join(err, s.stop())
	}
	return err
}

// addrs are the nodes as contenders read them: the longest TTL, then the addresses.
func (n *redisNodes) addrs() string {
	all := []string{n.maxTTL.String()}
	for _, s := range n.all {
		all = append(all, s.Addr)
	}
	return strings.Join(all, ",")
}

// onNodes is a row that needs five servers, and gets them for itself.
type onNodes struct {
	what string
	row  func(n *redisNodes) row
}

func (r onNodes) name() string { return r.what }

func (r onNodes) measure(b *bench) (lines []line, err error) {
	n, err := startNodes(b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, n.stop()) }()
	return r.row(n).measure(b)
}
