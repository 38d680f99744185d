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
	libraries := []rival{competitor(redsyncOf5GoRedis), competitor(redsyncOf5FailFast), competitor(redsyncOf5Rueidis)}
	return table{"redlock", []row{
		onServer[*redisNodes]{redlockUncontended, startNodes, func(at *redisNodes) row {
			return cyclesRow(redlockUncontended, at, lockCycles, match{ours: ourRedlock, best: target{atMost: 1}, peers: libraries})
		}},
		onServer[*redisNodes]{redlockNames, startNodes, func(at *redisNodes) row {
			return namesRow(redlockNames, at, 16, lockSpan, match{ours: ourRedlock, best: target{atLeast: 1.1}, peers: libraries})
		}},
		stoppedRow{},
	}}
}

const (
	redlockUncontended = "lock + unlock on 5 nodes"
	redlockNames       = "16 goroutines on 16 names, 5 nodes, lock + unlock"
	redlockStopped     = "hand-off between 2 processes, 2 of 5 nodes stopped"
)

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
		r, err := lockRelay(b, n, rival{kind: ourRedlock})
		if err == nil {
			befall()
		}
		return r, err
	}}
}

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

func (n *redisNodes) URL() string {
	var hosts []string
	for _, s := range n.all {
		hosts = append(hosts, s.Addr)
	}
	return "redlock://" + strings.Join(hosts, ",") + "?max-ttl=" + n.maxTTL.String()
}

// waits is when the last three nodes have somebody in line.
func (n *redisNodes) waits(*locker) (func() (bool, error), error) {
	return func() (bool, error) {
		for _, s := range n.all[2:] {
			waiting, err := s.Do("EXISTS", "{"+lockName+"}:lockstep:redlock:wait")
			if err != nil || waiting != int64(1) {
				return false, err
			}
		}
		return true, nil
	}, nil
}
