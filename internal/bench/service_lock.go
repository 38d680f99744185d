package main

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// Locks that nobody contends for. Each contender is a process of its own, so that
// it can be pinned, and the garbage of one is not the other's.

// A sample of a service that syncs its log takes longer.
const (
	lockCycles   = 1500
	lockSpan     = 300 * time.Millisecond
	syncedCycles = lockCycles / 3
	syncedSpan   = 2 * lockSpan
)

// lockProcess is a sampler: a process that locks when it is told to.
type lockProcess struct {
	*process

	order func() order
}

func (p lockProcess) sample() (float64, error) {
	r, err := p.ask(p.order())
	return r.Value, err
}

// cyclesRow is a lock and its unlock at a time: p50 in µs. Its process has one core
// and the server another.
func cyclesRow(what string, at server, cycles int, m match) row {
	return contest{what, microseconds, m, func(b *bench, r rival) (sampler, error) {
		p, err := startOn(clientCore(), "service-lock", job{URL: at.URL(), Kind: r.kind, N: b.count(cycles)})
		return lockProcess{p, func() order { return order{Do: "cycles"} }}, err
	}}
}

// namesRow is goroutines that lock and unlock, each a name of its own: a rate.
func namesRow(what string, at server, names int, span time.Duration, m match) row {
	return contest{what, perSecond, m, func(b *bench, r rival) (sampler, error) {
		p, err := start("service-lock", job{URL: at.URL(), Kind: r.kind, N: names})
		return lockProcess{p, func() order { return order{Do: "many", At: monotonic() + int64(b.while(span))} }}, err
	}}
}

// The process.

type lockRole struct {
	*locker

	name string // this contender's alone: what another left behind would be waited for
	n    int    // cycles of a sample, or names
}

func newLockRole(j job) (worker, error) {
	l, err := openLocker(j.Kind, j.URL)
	return lockRole{l, lockName + "/" + strconv.Itoa(os.Getpid()), j.N}, err
}

func (r lockRole) cycle(name string) error {
	unlock, err := r.lock(name)
	if err != nil {
		return err
	}
	return unlock()
}

func (r lockRole) obey(o order) (report, error) {
	switch o.Do {
	case "cycles":
		p50, err := loop{n: r.n, op: func() error { return r.cycle(r.name) }}.sample()
		return report{Value: p50}, err
	case "many":
		rate, err := r.many(o.At)
		return report{Value: rate}, err
	}
	return report{}, fmt.Errorf("no order %q", o.Do)
}

func (r lockRole) many(until int64) (rate float64, err error) {
	var cycles atomic.Int64
	var all sync.WaitGroup
	failed := make(chan error, r.n)
	began := monotonic()
	for i := range r.n {
		name := r.name + "/" + strconv.Itoa(i)
		all.Go(func() {
			for monotonic() < until {
				if err := r.cycle(name); err != nil {
					failed <- err
					return
				}
				cycles.Add(1)
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return 0, err
	default:
		return float64(cycles.Load()) / time.Duration(monotonic()-began).Seconds(), nil
	}
}

func (r lockRole) close() error { return r.locker.close() }
