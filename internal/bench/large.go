package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// largeTable is a map of 100,000 entries with values of 100 bytes on each engine:
// how long it takes to list it, to be shown all of it by a watch, and to open a view
// of it, each by a client of its own, and what memory the view takes. ZooKeeper cannot
// list in pages, so its maps have at most a tenth of that.
func largeTable() table {
	return table{"large", []row{
		largeRow{"memory", largeEntries, func(*bench) (opener, func() error, error) {
			e := memengine.New()
			return func(context.Context) (*lockstep.Client, error) { return lockstep.New(e, lockstep.WithLogger(nil)) }, e.Close, nil
		}},
		largeRow{"file", largeEntries, func(b *bench) (opener, func() error, error) {
			dir, err := b.folder("large")
			return openURL("file://" + dir), func() error { return nil }, err
		}},
		largeRow{"redis", largeEntries, largeOn(startRedis)},
		largeRow{"etcd", largeEntries, largeOn(startEtcd)},
		largeRow{"zookeeper", largeOfZK, largeOn(startZK)},
	}}
}

// opener makes a client of the engine.
type opener func(ctx context.Context) (*lockstep.Client, error)

func openURL(url string) opener {
	return func(ctx context.Context) (*lockstep.Client, error) {
		return lockstep.Open(ctx, url, drivers, lockstep.WithLogger(nil))
	}
}

// largeOn is on a server of its own.
func largeOn[S server](start func() (S, error)) func(*bench) (opener, func() error, error) {
	return func(*bench) (opener, func() error, error) {
		s, err := start()
		if err != nil {
			return nil, nil, err
		}
		return openURL(s.URL()), s.stop, nil
	}
}

const (
	largeEntries = 100_000
	largeOfZK    = 10_000
	largeValue   = 100
	largeCommit  = 100 // entries of a commit while it is filled
)

type largeRow struct {
	engine  string
	entries int
	start   func(b *bench) (open opener, stop func() error, err error)
}

func (r largeRow) name() string { return fmt.Sprintf("%s: %d entries", r.engine, r.entries) }

func (r largeRow) measure(b *bench) (lines []line, err error) {
	open, stop, err := r.start(b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, stop()) }()
	ctx := context.Background()
	n := b.count(r.entries)
	if err := fillLarge(ctx, open, n); err != nil {
		return nil, err
	}
	for _, what := range []struct {
		name string
		do   func(context.Context, *lockstep.Map, int) (func(), error)
	}{{"list", listLarge}, {"watch, to the last entry", watchLarge}, {"view", viewLarge}} {
		var times, sizes []float64
		for range max(b.pairs/2, 1) {
			took, bytes, err := onceLarge(ctx, open, n, what.do)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", what.name, err)
			}
			b.raw("%s, %s\t%v\t%d B", r.name(), what.name, took, bytes)
			times, sizes = append(times, took.Seconds()*1e6), append(sizes, float64(bytes)/float64(n))
		}
		lines = append(lines, line{what: r.name() + ": " + what.name, ours: microseconds.format(median(times))})
		if what.name == "view" {
			lines = append(lines, line{what: r.name() + ": memory for each entry of a view", ours: bytesEach.format(median(sizes))})
		}
	}
	return lines, nil
}

const largeName = "large"

func fillLarge(ctx context.Context, open opener, n int) (err error) {
	c, err := open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	m := c.Map(largeName)
	value := make([]byte, largeValue)
	keys := viewKeys(n)
	for len(keys) > 0 {
		part := keys[:min(largeCommit, len(keys))]
		keys = keys[len(part):]
		var tx lockstep.Tx
		for _, key := range part {
			tx.Put = append(tx.Put, lockstep.Entry{Key: key, Value: value})
		}
		if _, err := m.Commit(ctx, tx); err != nil {
			return err
		}
	}
	return nil
}

// onceLarge does it with a new client, and says how long it took and what memory is
// held then.
func onceLarge(
	ctx context.Context, open opener, n int, do func(context.Context, *lockstep.Map, int) (func(), error),
) (took time.Duration, bytes int64, err error) {
	c, err := open(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	m := c.Map(largeName)
	if _, err := m.Get(ctx, viewKeys(1)[0]); err != nil { // it is connected
		return 0, 0, err
	}
	before := heap()
	began := time.Now()
	done, err := do(ctx, m, n)
	took = time.Since(began)
	if err != nil {
		return 0, 0, err
	}
	bytes = heap() - before
	done()
	return took, bytes, nil
}

func heap() int64 {
	runtime.GC()
	runtime.GC() // what was only just let go of
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func listLarge(ctx context.Context, m *lockstep.Map, n int) (func(), error) {
	l, err := m.List(ctx)
	if err == nil && len(l.Entries) != n {
		err = fmt.Errorf("%d entries, want %d", len(l.Entries), n)
	}
	return func() { runtime.KeepAlive(l) }, err
}

func watchLarge(ctx context.Context, m *lockstep.Map, n int) (func(), error) {
	seen := 0
	for change, err := range m.Watch(ctx) {
		if err != nil {
			return nil, err
		}
		if seen++; change.Synced {
			break
		}
	}
	if seen != n {
		return nil, fmt.Errorf("shown %d entries, want %d", seen, n)
	}
	return func() {}, nil
}

func viewLarge(ctx context.Context, m *lockstep.Map, n int) (func(), error) {
	v, err := m.View(ctx)
	if err != nil {
		return nil, err
	}
	if v.Len() != n {
		return nil, fmt.Errorf("the view has %d entries, want %d", v.Len(), n)
	}
	return v.Close, nil
}
