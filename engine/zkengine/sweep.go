package zkengine

import (
	"context"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"
)

// Commits are remembered by nodes that somebody must remove. Whoever commits does so
// now and then, for a few maps at random, whoever committed to them: a map that
// nobody writes to any more is cleaned, too, and its log node, a container, goes.
const (
	sweepEvery = retention / 6
	sweepMaps  = 64
	sweepMarks = 2000 // for one map at a time
)

// sweepSometimes begins a sweep where one is due. It is the engine's goroutine.
func (s *store) sweepSometimes() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sweeper || time.Since(s.swept) < sweepEvery {
		return
	}
	s.swept = time.Now()
	s.sweeper = s.e.background(func() {
		s.sweep(s.e.ctx, retention)
		s.mu.Lock()
		s.sweeper = false
		s.mu.Unlock()
	})
}

// sweep is best effort: what it does not get to waits for the next.
func (s *store) sweep(ctx context.Context, age time.Duration) {
	top := s.e.paths.of(maps)
	logs, err := ask(ctx, s.e, func() (children, error) { return s.e.conn.children(top) })
	if err != nil {
		return
	}
	rand.Shuffle(len(logs.names), func(i, j int) { logs.names[i], logs.names[j] = logs.names[j], logs.names[i] })
	for _, log := range logs.names[:min(len(logs.names), sweepMaps)] {
		if s.sweepLog(ctx, top+"/"+log, age) != nil {
			return
		}
	}
}

// sweepLog removes marks that are older than age. Both times are the ensemble's own:
// that of a mark, and that of a node made now (S10).
func (s *store) sweepLog(ctx context.Context, log string, age time.Duration) error {
	_, err := ask(ctx, s.e, func() (struct{}, error) {
		all, err := s.e.conn.children(log)
		if err != nil {
			return struct{}{}, absent(err)
		}
		now, err := s.now(log)
		if err != nil {
			return struct{}{}, absent(err)
		}
		marks := all.names[:min(len(all.names), sweepMarks)]
		return struct{}{}, eachParallel(len(marks), func(i int) error {
			path := log + "/" + marks[i]
			stat, err := s.e.conn.exists(path)
			if err != nil || stat == nil || now-stat.Ctime < age.Milliseconds() || !strings.HasPrefix(marks[i], "tx-") {
				return err
			}
			return absent(s.e.conn.delete(path))
		})
	})
	return err
}

// now is the ensemble's time in ms: that of a node made and removed.
func (s *store) now(log string) (int64, error) {
	path, err := s.e.conn.zk.Create(log+"/now-", []byte{}, zk.FlagEphemeralSequential, s.e.conn.acl)
	if err != nil {
		return 0, explain(err)
	}
	stat, err := s.e.conn.exists(path)
	if err != nil || stat == nil {
		return 0, err
	}
	return stat.Ctime, absent(s.e.conn.delete(path))
}
