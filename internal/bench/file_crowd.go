package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
)

// A crowd that waits for one name: what it costs the engine while all only wait,
// and what a hand-off costs. Each waiter is a client with a session of its own;
// some share a process, as they would.

const (
	crowdProcesses = 10
	crowdEach      = 10 // clients in each
	crowdIdle      = 10 * time.Second
)

type crowdRow struct{}

func (crowdRow) name() string { return crowdOf100 }

func (c crowdRow) measure(b *bench) (lines []line, err error) {
	dir, err := b.folder("crowd")
	if err != nil {
		return nil, err
	}
	holder, err := newLockstepGiver(dir)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, holder.close()) }()
	if err := holder.take(); err != nil {
		return nil, err
	}
	all, err := startAll(crowdProcesses, false, "crowd", job{Dir: dir, N: crowdEach})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, closeAll(all)) }()
	return c.watch(b, holder.(*lockstepGiver), all)
}

func (c crowdRow) watch(b *bench, holder *lockstepGiver, all []*process) ([]line, error) {
	waiters := crowdProcesses * crowdEach
	if _, err := askAll(all, order{Do: "enter"}); err != nil {
		return nil, err
	}
	if err := until(func() (bool, error) {
		if _, err := census(holder, all); err != nil { // somebody failed to enter
			return false, err
		}
		line, err := holder.Line(context.Background(), lockName)
		return len(line.Waiters) == waiters, err
	}); err != nil {
		return nil, err
	}
	began, err := census(holder, all)
	if err != nil {
		return nil, err
	}
	idle := b.while(crowdIdle)
	time.Sleep(idle)
	rested, err := census(holder, all)
	if err != nil {
		return nil, err
	}
	if err := holder.give(); err != nil {
		return nil, err
	}
	if err := until(func() (bool, error) {
		now, err := census(holder, all)
		return now.Done == waiters, err
	}); err != nil {
		return nil, err
	}
	ended, err := census(holder, all)
	if err != nil {
		return nil, err
	}
	quiet, handed := rested.minus(began), ended.minus(rested)
	b.raw("%s\tin %v of waiting %d transactions, %d renewals, %d reads; in %d hand-offs %d transactions (the releases' own among them), %d reads",
		c.name(), idle, quiet.Transactions, quiet.Renewals, quiet.Reads, waiters, handed.Transactions, handed.Reads)
	return c.lines(quiet, handed, idle, float64(waiters)), nil
}

func (c crowdRow) lines(quiet, handed counts, idle time.Duration, waiters float64) []line {
	what := c.name() + ": "
	one := func(name string, v float64, u unit, t target) line {
		return line{what: what + name, ours: u.format(v), target: t, got: v}
	}
	rate := func(n int64) float64 { return float64(n) / idle.Seconds() }
	return []line{
		one("transactions a hand-off, the release's own among them", float64(handed.Transactions)/waiters, plain, target{atMost: 3}),
		one("reads a hand-off", float64(handed.Reads)/waiters, plain, target{}),
		one("transactions while all only wait", rate(quiet.Transactions), perSecond, target{zero: true}),
		one("renewals meanwhile (a file's write and a read each)", rate(quiet.Renewals), perSecond, target{}),
		one("reads beyond the renewals'", rate(quiet.Reads-quiet.Renewals), perSecond, target{}),
	}
}

// until asks again and again.
func until(reached func() (bool, error)) error {
	for {
		done, err := reached()
		if err != nil || done {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// census is the counts of all processes together. The holder's own reads are
// the census's.
func census(holder *lockstepGiver, all []*process) (sum counts, err error) {
	sum, err = seenBy(all)
	sum.Transactions += holder.engine.(*sqliteengine.Engine).Transactions()
	return sum, err
}

// A process of the crowd.

type crowdRole struct {
	passing

	engine   *sqliteengine.Engine
	clients  []*lockstep.Client
	waiting  sync.WaitGroup
	renewals atomic.Int64
}

func newCrowdRole(j job) (worker, error) {
	e, err := fileEngine(j.Dir)
	if err != nil {
		return nil, err
	}
	r := &crowdRole{engine: e}
	watched := lockstep.WithObserver(lockstep.Observer{Renewed: func(int, time.Duration) { r.renewals.Add(1) }})
	for range j.N {
		c, err := lockstep.New(e, watched, lockstep.WithLogger(nil))
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.clients = append(r.clients, c)
	}
	return r, nil
}

func (r *crowdRole) obey(o order) (report, error) {
	switch o.Do {
	case "enter":
		for _, c := range r.clients {
			r.waiting.Go(func() { r.pass(c) })
		}
		return report{}, nil
	case "count":
		return r.seen(counts{Transactions: r.engine.Transactions(), Reads: r.engine.Reads(), Renewals: r.renewals.Load()})
	}
	return report{}, fmt.Errorf("no order %q", o.Do)
}

// pass waits for its turn once and lets the next in.
func (r *crowdRole) pass(c *lockstep.Client) {
	lease, err := c.Mutex(lockName).Lock(context.Background())
	if err == nil {
		err = lease.Release(context.Background())
	}
	r.passed(err)
}

func (r *crowdRole) close() error {
	var errs []error
	for _, c := range r.clients {
		errs = append(errs, c.Close())
	}
	r.waiting.Wait()
	return errors.Join(append(errs, r.engine.Close())...)
}
