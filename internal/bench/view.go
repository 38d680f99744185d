package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// viewTable is what a local copy costs: its reads, and a put to the last of many
// local watchers. Both are over memory, where the engine costs next to nothing;
// what a service adds is in its own table.
func viewTable() table {
	rows := []row{}
	for _, n := range []int{1000, 100_000} {
		rows = append(rows, comparison{
			what: fmt.Sprintf("one read of %d entries", n), unit: microseconds,
			ours: viewReads(n), peer: syncMapReads(n), target: target{atMost: 5},
		})
	}
	rows = append(rows, allocRow{"memory that a million reads allocate"})
	for _, n := range []int{1, 10, 100, 1000, 10_000} {
		rows = append(rows, comparison{
			what: fmt.Sprintf("put → the last of %d watchers", n), unit: microseconds,
			ours: watches("Lockstep", n, memoryOurs), peer: watches("a watch each at the engine", n, memoryRaw),
		})
	}
	return table{"view", rows}
}

const viewReadsEach = 1000

func viewKeys(n int) []string {
	keys := make([]string, n)
	for i := range keys {
		keys[i] = "key/" + strconv.Itoa(i)
	}
	return keys
}

// filledView is a view of a map with n entries.
func filledView(n int) (v *lockstep.View, done func() error, err error) {
	c, err := lockstep.New(memengine.New(), lockstep.WithLogger(nil))
	if err != nil {
		return nil, nil, err
	}
	ctx, m := context.Background(), c.Map("m")
	keys := viewKeys(n)
	for len(keys) > 0 {
		part := keys[:min(1000, len(keys))]
		keys = keys[len(part):]
		var tx lockstep.Tx
		for _, key := range part {
			tx.Put = append(tx.Put, lockstep.Entry{Key: key, Value: []byte("value")})
		}
		if _, err := m.Commit(ctx, tx); err != nil {
			return nil, nil, errors.Join(err, c.Close())
		}
	}
	v, err = m.View(ctx)
	if err != nil {
		return nil, nil, errors.Join(err, c.Close())
	}
	return v, func() error { v.Close(); return c.Close() }, nil
}

// reads goes over the keys, so that each read is of another entry.
func reads(b *bench, n int, get func(key string) bool, done func() error) sampler {
	keys, at := viewKeys(n), 0
	return loop{n: b.count(1000), each: viewReadsEach, done: done, op: func() error {
		for range viewReadsEach {
			at = (at + 7919) % n
			if !get(keys[at]) {
				return fmt.Errorf("no %s", keys[at])
			}
		}
		return nil
	}}
}

func viewReads(n int) contender {
	return contender{"Lockstep", func(b *bench) (sampler, error) {
		v, done, err := filledView(n)
		if err != nil {
			return nil, err
		}
		return reads(b, n, func(key string) bool { _, ok := v.Get(key); return ok }, done), nil
	}}
}

// syncMapReads has its keys as what sync.Map takes already: making them on the way
// would allocate.
func syncMapReads(n int) contender {
	return contender{"sync.Map", func(b *bench) (sampler, error) {
		var m sync.Map
		keys, at := make([]any, n), 0
		for i, key := range viewKeys(n) {
			keys[i] = key
			m.Store(key, &lockstep.Entry{Key: key, Value: []byte("value")})
		}
		return loop{n: b.count(1000), each: viewReadsEach, done: func() error { return nil }, op: func() error {
			for range viewReadsEach {
				at = (at + 7919) % n
				if _, ok := m.Load(keys[at]); !ok {
					return fmt.Errorf("no %v", keys[at])
				}
			}
			return nil
		}}, nil
	}}
}

// allocRow counts what reads allocate.
type allocRow struct{ what string }

func (a allocRow) name() string { return a.what }

func (a allocRow) measure(b *bench) (lines []line, err error) {
	const n, readsIn = 1000, 1_000_000
	v, done, err := filledView(n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, done()) }()
	keys := viewKeys(n)
	least := ^uint64(0)
	for range b.pairs { // the least: what runs beside it allocates as well
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for i := range b.count(readsIn) {
			v.Get(keys[i%n])
		}
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
		b.raw("%s\t%d allocations", a.what, after.Mallocs-before.Mallocs)
	}
	return []line{{what: a.what, ours: plain.format(float64(least)), target: target{zero: true}, got: float64(least)}}, nil
}

// memoryOurs are our watches over memory, and memoryRaw a watch each at its engine.
func memoryOurs() (watched, error) {
	c, e, err := overMemory()
	if err != nil {
		return watched{}, err
	}
	return oursOver(c, e.Close), nil
}

func memoryRaw() (watched, error) {
	c, e, err := overMemory()
	if err != nil {
		return watched{}, err
	}
	w := oursOver(c, e.Close)
	w.watch = func(ctx context.Context) iter.Seq[bool] {
		return func(yield func(bool) bool) {
			for ev, err := range e.Store().Watch(ctx, watchedMap, 0) {
				if err != nil || (ev.Full || len(ev.Entries) > 0) && !yield(!ev.Full) {
					return
				}
			}
		}
	}
	return w, nil
}

func overMemory() (*lockstep.Client, engine.Engine, error) {
	e := memengine.New()
	c, err := lockstep.New(e, lockstep.WithLogger(nil))
	return c, e, err
}

// crowd is many watchers of one thing in this process, who together say when all have
// seen a put. A sample is the p50 of some puts, each until the last one has seen it.
type crowd struct {
	watched

	watchers int64
	n, puts  int
	left     atomic.Int64
	told     chan struct{}
	end      context.CancelFunc
	all      sync.WaitGroup
}

func newCrowd(b *bench, n int, s watched) *crowd {
	w := &crowd{watched: s, told: make(chan struct{}, 1), n: b.count(100), watchers: int64(n)}
	if n >= 10_000 {
		w.n = b.count(20)
	}
	if b.smoke {
		w.watchers = int64(b.count(n))
	}
	ctx, end := context.WithCancel(context.Background())
	w.end = end
	var begun sync.WaitGroup
	begun.Add(int(w.watchers))
	for range w.watchers {
		w.all.Go(func() { w.follow(s.watch(ctx), begun.Done) })
	}
	begun.Wait()
	return w
}

func (w *crowd) follow(items iter.Seq[bool], begun func()) {
	began := sync.OnceFunc(begun)
	defer began()
	for put := range items {
		if began(); put && w.left.Add(-1) == 0 {
			w.told <- struct{}{}
		}
	}
}

func (w *crowd) sample() (float64, error) {
	took := make([]float64, w.n)
	for i := range took {
		w.puts++
		w.left.Store(w.watchers)
		began := time.Now()
		if err := w.put(context.Background(), strconv.AppendInt(nil, int64(w.puts), 10)); err != nil {
			return 0, err
		}
		select {
		case <-w.told:
		case <-time.After(time.Minute):
			return 0, fmt.Errorf("%d watchers have seen nothing for a minute", w.left.Load())
		}
		took[i] = micros(time.Since(began))
	}
	return median(took), nil
}

func (w *crowd) close() error {
	w.end()
	w.all.Wait()
	return w.stop()
}
