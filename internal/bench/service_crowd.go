package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-go/lockstep"
)

// A crowd as in file_crowd.go, and what each kind of client asks of the server
// for it. What counts is what the server received: EVALSHA, SET, PING and so on
// by what each kind sends, and nothing of what scripts did.
//
// These are counts, and each kind is counted once, after the other: only the
// rate of those that poll depends on how busy the machine is.

const (
	crowdSettles = lockstep.DefaultTTL / 2 // before counting: the first renewal has loaded its script then
	crowdPasses  = 30 * time.Second        // at most, until all have had the lock: some hang
)

// crowdOf is who else waits, and what is printed.
type crowdOf struct {
	peers []string
	// settled: what is no renewal is told, so that none may be under way at a count.
	settled bool
	lines   func(ours crowdCost, peers []crowdCost) []line
}

type serviceCrowdRow struct {
	server countingServer
	crowdOf
}

func (serviceCrowdRow) name() string { return crowdOf100 }

func (c serviceCrowdRow) measure(b *bench) ([]line, error) {
	var all []crowdCost
	for _, kind := range append([]string{ourLocker}, c.peers...) {
		cost, err := c.count(b, kind)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		all = append(all, cost)
	}
	return c.lines(all[0], all[1:]), nil
}

// crowdCost is what one kind's crowd asked for.
type crowdCost struct {
	kind                    string
	handOff                 float64 // requests each
	waiting                 float64 // requests per second while all only wait
	renewals, pings, beyond float64 // of these
	waiters, done           float64 // those that there were, and that had the lock in time
}

func (c serviceCrowdRow) count(b *bench, kind string) (cost crowdCost, err error) {
	processes, each := crowdProcesses, crowdEach
	if b.smoke {
		processes, each = 2, 2
	}
	holder, err := openLocker(kind, c.server.URL())
	if err != nil {
		return cost, err
	}
	unlock, err := c.hold(holder)
	if err != nil {
		return cost, errors.Join(err, holder.close())
	}
	all, err := startAll(processes, false, "service-crowd", job{URL: c.server.URL(), Kind: kind, N: each})
	if err != nil {
		return cost, errors.Join(err, unlock(), holder.close())
	}
	w := &waitingCrowd{server: c.server, kind: kind, settled: c.settled && kind == ourLocker, holder: holder, all: all, waiters: processes * each}
	defer func() {
		// A kind that hangs leaves its lock, and the next one wants the same key.
		err = errors.Join(err, holder.close(), closeAll(all), c.server.clear())
	}()
	return w.count(b, unlock)
}

// hold is for as long as the row takes. What a user's own renewals would cost is
// not counted.
func (c serviceCrowdRow) hold(holder *locker) (unlock func() error, err error) {
	unlock, err = holder.lock(lockName)
	if err == nil && holder.expires {
		err = c.server.keep(lockName)
	}
	return unlock, err
}

// waitingCrowd is one kind's.
type waitingCrowd struct {
	server  countingServer
	kind    string
	settled bool
	holder  *locker
	all     []*process
	waiters int
}

func (w *waitingCrowd) count(b *bench, unlock func() error) (cost crowdCost, err error) {
	settles, idle := b.while(crowdSettles), b.while(crowdIdle)
	if err := w.enter(settles + idle); err != nil {
		return cost, err
	}
	time.Sleep(settles)
	began, err := w.census()
	if err != nil {
		return cost, err
	}
	time.Sleep(idle)
	rested, err := w.census()
	if err != nil {
		return cost, err
	}
	if err := unlock(); err != nil {
		return cost, err
	}
	if err := w.pass(b); err != nil {
		return cost, err
	}
	ended, err := w.census()
	if err != nil {
		return cost, err
	}
	quiet, handed := rested.minus(began), ended.minus(rested)
	cost = quiet.waiting(idle)
	cost.kind, cost.waiters, cost.done = w.kind, float64(w.waiters), float64(ended.seen.Done)
	cost.handOff = float64(handed.requests) / max(cost.done, 1)
	pings := ""
	if quiet.pings > 0 { // and the server tells
		pings = fmt.Sprintf(", %d of them PINGs", quiet.pings)
	}
	b.raw("%s\t%s: in %v of waiting %d requests%s, %d renewals of ours; in %d of %d hand-offs %d requests",
		crowdOf100, w.kind, idle, quiet.requests, pings, quiet.seen.Renewals, ended.seen.Done, w.waiters, handed.requests)
	return cost, nil
}

// enter returns when each of the waiters has asked once.
func (w *waitingCrowd) enter(quiet time.Duration) error {
	entered, err := w.server.queue(w.holder, w.waiters)
	if err != nil {
		return err
	}
	if _, err := askAll(w.all, order{Do: "enter", At: int64(quiet)}); err != nil {
		return err
	}
	return until(func() (bool, error) {
		if _, err := w.seen(); err != nil { // somebody failed to enter
			return false, err
		}
		return entered()
	})
}

// pass returns when all have had the lock. Of the peers some hang, and what they did
// until then is told; that ours do is an error.
func (w *waitingCrowd) pass(b *bench) error {
	ours, passes := w.kind == ourLocker, b.while(crowdPasses)
	if ours {
		passes = crowdPasses
	}
	late := time.Now().Add(passes)
	return until(func() (bool, error) {
		now, err := w.seen()
		if err != nil || now.Done == w.waiters || time.Now().Before(late) {
			return now.Done == w.waiters, err
		}
		if ours {
			return false, fmt.Errorf("%d of %d have had the lock within %v", now.Done, w.waiters, passes)
		}
		return true, nil
	})
}

// crowdCensus is what was asked of the server up to now, and what the waiters know.
type crowdCensus struct {
	tally

	seen counts
}

func (c crowdCensus) minus(o crowdCensus) crowdCensus {
	return crowdCensus{c.tally.minus(o.tally), c.seen.minus(o.seen)}
}

// waiting is what it comes to in so long.
func (c crowdCensus) waiting(d time.Duration) crowdCost {
	rate := func(n int64) float64 { return float64(n) / d.Seconds() }
	return crowdCost{
		waiting: rate(c.requests), pings: rate(c.pings), renewals: rate(c.seen.Renewals), beyond: rate(c.asked() - c.seen.Renewals),
	}
}

// census of what has to be settled is taken at a moment when no renewal is under way,
// or it would be in one of two counts that are compared.
func (w *waitingCrowd) census() (c crowdCensus, err error) {
	for {
		if c.tally, err = w.server.received(w.holder.requests); err != nil {
			return c, err
		}
		if c.seen, err = w.seen(); err != nil {
			return c, err
		}
		after, err := w.server.received(w.holder.requests)
		if err != nil || !w.settled || after.asked() == c.asked() {
			return c, err
		}
	}
}

func (w *waitingCrowd) seen() (sum counts, err error) {
	sum, err = seenBy(w.all)
	sum.Renewals += renewed.Load() // the holder's
	return sum, err
}

// What is printed.

// crowdLines are ours beside one other's.
func crowdLines(ours crowdCost, peers []crowdCost) []line {
	what, its := crowdOf100+": ", peers[0]
	return []line{
		{
			what: what + "requests a hand-off", ours: plain.format(ours.handOff), peer: its.name(), theirs: plain.format(its.handOff),
			target: target{atMost: 3}, got: ours.handOff,
		},
		{
			what: what + "requests while all only wait",
			ours: perSecond.format(ours.waiting), peer: its.name(), theirs: perSecond.format(its.waiting),
		},
		{what: what + "of these, renewals", ours: perSecond.format(ours.renewals)},
	}
}

// name says of a kind that hung how many had the lock.
func (c crowdCost) name() string {
	if c.done < c.waiters {
		return fmt.Sprintf("%s (%.0f of %.0f passed)", c.kind, c.done, c.waiters)
	}
	return c.kind
}

// A process of the crowd.

type serviceCrowdRole struct {
	passing

	lockers []*locker
}

func newServiceCrowd(j job) (worker, error) {
	r := &serviceCrowdRole{}
	for range j.N {
		l, err := openLocker(j.Kind, j.URL)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.lockers = append(r.lockers, l)
	}
	return r, nil
}

func (r *serviceCrowdRole) obey(o order) (report, error) {
	switch o.Do {
	case "enter":
		// Asking anew is not what these clients do while they only wait.
		sleepless.Store(o.At + int64(defaultSleepless))
		for _, l := range r.lockers {
			go r.pass(l) // who hangs ends with the process
		}
		return report{}, nil
	case "count":
		return r.seen(counts{Renewals: renewed.Load()})
	}
	return report{}, fmt.Errorf("no order %q", o.Do)
}

// pass waits for its turn once and lets the next in. Who hangs after that is
// asked anew as soon as in the other rows.
func (r *serviceCrowdRole) pass(l *locker) {
	unlock, err := l.lock(lockName)
	sleepless.Store(0)
	if err == nil {
		err = unlock()
	}
	r.passed(err)
}

func (r *serviceCrowdRole) close() error {
	var errs []error
	for _, l := range r.lockers {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}
