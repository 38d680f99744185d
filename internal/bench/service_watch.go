package main

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep"
)

// From the start of a Put here to its event in another process, which watches.

const (
	watchedMap    = "bench/map"
	localWatchers = 1000
)

// putter puts what differs from what was there.
type putter struct {
	always
	*client

	puts int
}

func newPutter(url string) (*putter, error) {
	c, err := serviceClient(url)
	return &putter{client: c}, err
}

func (p *putter) give() error {
	p.puts++
	_, err := p.Map(watchedMap).Put(context.Background(), "key", strconv.AppendInt(nil, int64(p.puts), 10))
	return err
}

// newWatcher watches alone.
func newWatcher(url string) (worker, error) {
	w, err := watchBy(url, 1)
	if err != nil {
		return nil, err
	}
	return waiterRole{func() (int64, error) {
		at, err := w.next()
		return at[0], err
	}, w.close}, nil
}

// The many.

// watchesOf is what they cost the server.
type watchesOf struct {
	what   string // how it is called
	target target
}

type manyWatchersRow struct {
	server countingServer
	watchesOf
}

func (manyWatchersRow) name() string { return watchers1000 }

func (m manyWatchersRow) measure(b *bench) (lines []line, err error) {
	g, err := newPutter(m.server.URL())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	p, err := start("service-watchers", job{URL: m.server.URL(), N: b.count(localWatchers)})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	first, spread, err := putsSeen(b, g, p)
	if err != nil {
		return nil, err
	}
	watches, err := m.server.watches()
	if err != nil {
		return nil, err
	}
	what := watchers1000 + ": "
	s := over(spread)
	b.raw("%s\tput → the first's event, to the last's after it: %s", watchers1000, s)
	return []line{
		{what: what + "put → event of the first", ours: microseconds.format(median(first))},
		{
			what: what + "the last's after the first's", ours: microseconds.format(s.median),
			target: target{atMost: 2000, unit: " µs"}, got: s.median,
		},
		{what: what + m.what, ours: plain.format(watches), target: m.target, got: watches},
	}, nil
}

// putsSeen are as many as the pairs of a comparison have: each is one to all watchers.
func putsSeen(b *bench, g *putter, p *process) (first, spread []float64, err error) {
	for i := range b.count(handOffs)*b.pairs + 1 {
		if err := p.order(order{Do: "next"}); err != nil {
			return nil, nil, err
		}
		anyPhase()
		began := monotonic()
		if err := g.give(); err != nil {
			return nil, nil, err
		}
		r, err := p.report()
		if err != nil {
			return nil, nil, err
		}
		if i == 0 {
			continue // warms up
		}
		first = append(first, micros(time.Duration(r.At-began)))
		spread = append(spread, r.Value)
	}
	return first, spread, nil
}

// watchersRole reports when the first one saw it, and how much later the last.
type watchersRole struct{ *watchers }

func newWatchersRole(j job) (worker, error) {
	w, err := watchBy(j.URL, j.N)
	return watchersRole{w}, err
}

func (r watchersRole) obey(order) (report, error) {
	at, err := r.next()
	if err != nil {
		return report{}, err
	}
	first, last := at[0], at[0]
	for _, t := range at {
		first, last = min(first, t), max(last, t)
	}
	return report{At: first, Value: micros(time.Duration(last - first))}, nil
}

// watchers are some of one map in one process. Events come one at a time: the
// next is put when all have reported this one.
type watchers struct {
	client *client
	stop   context.CancelFunc
	all    sync.WaitGroup

	at    []int64 // when each saw it, ns
	left  atomic.Int64
	told  chan struct{}
	ended chan error
}

// watchBy returns when all have seen the map as it is.
func watchBy(url string, n int) (*watchers, error) {
	c, err := serviceClient(url)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &watchers{client: c, stop: stop, at: make([]int64, n), told: make(chan struct{}, 1), ended: make(chan error, n)}
	var begun sync.WaitGroup
	begun.Add(n)
	w.left.Store(int64(n))
	for i := range n {
		w.all.Go(func() { w.ended <- w.watch(ctx, i, begun.Done) })
	}
	begun.Wait()
	return w, nil
}

func (w *watchers) watch(ctx context.Context, i int, begun func()) error {
	began := sync.OnceFunc(begun)
	defer began()
	for c, err := range w.client.Map(watchedMap).Watch(ctx) {
		if err != nil {
			return err
		}
		if c.Snapshot || c.Op == lockstep.OpNone {
			if c.Synced {
				began()
			}
			continue
		}
		w.at[i] = monotonic()
		if w.left.Add(-1) == 0 {
			w.left.Store(int64(len(w.at)))
			w.told <- struct{}{}
		}
	}
	return nil
}

// next is when each saw the event that comes.
func (w *watchers) next() ([]int64, error) {
	select {
	case <-w.told:
		return w.at, nil
	case err := <-w.ended:
		return w.at, errors.Join(err, errors.New("a watch ended"))
	}
}

func (w *watchers) close() error {
	w.stop()
	w.all.Wait()
	return w.client.close()
}
