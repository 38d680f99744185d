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

// crowdOf is who else waits, and what the server counts.
type crowdOf struct {
	peers   []rival // their targets are about the requests while all only wait
	handOff target  // of requests each
	renewal int64   // requests that one is
	pings   string  // how those are called that the server counts; "": there are none
	pushed  bool    // to peers too: while they only wait, they ask for nothing but that their sessions live
}

type serviceCrowdRow struct {
	server countingServer
	crowdOf
}

func (serviceCrowdRow) name() string { return crowdOf100 }

func (c serviceCrowdRow) measure(b *bench) ([]line, error) {
	var all []crowdCost
	for _, r := range append([]rival{{kind: ourLocker}}, c.peers...) {
		cost, err := c.count(b, r.kind)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", r.kind, err)
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
	w := &waitingCrowd{server: c.server, kind: kind, crowdOf: c.crowdOf, holder: holder, all: all, waiters: processes * each}
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
	crowdOf

	server  countingServer
	kind    string
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
	unlocked := time.Now()
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
	took := time.Since(unlocked)
	quiet, handed := rested.minus(began), ended.minus(rested)
	cost = w.waiting(quiet, idle)
	cost.kind, cost.waiters, cost.done = w.kind, float64(w.waiters), float64(ended.seen.Done)
	cost.handOff = w.handedOver(handed.requests, cost.waiting, took) / max(cost.done, 1)
	pings := ""
	if w.pings != "" {
		pings = fmt.Sprintf(", %d of them %s", quiet.pings, w.pings)
	}
	b.raw("%s\t%s: in %v of waiting %d requests%s, %d renewals of ours; in %d of %d hand-offs, %v, %d requests and %d renewals",
		crowdOf100, w.kind, idle, quiet.requests, pings, quiet.seen.Renewals,
		ended.seen.Done, w.waiters, took.Round(time.Millisecond), handed.requests, handed.seen.Renewals)
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

// handedOver is what the hand-offs asked for. What keeps sessions alive meanwhile is
// asked for as often as when all only waited, and is no part of it; of a peer that
// polls, nobody can say which request was for what.
func (w *waitingCrowd) handedOver(requests int64, waiting float64, took time.Duration) float64 {
	if w.kind == ourLocker || w.pushed {
		return max(0, float64(requests)-waiting*took.Seconds())
	}
	return float64(requests)
}

// waiting is what is asked for in so long.
func (w *waitingCrowd) waiting(quiet account, d time.Duration) crowdCost {
	rate := func(n int64) float64 { return float64(n) / d.Seconds() }
	renewals := w.renewal * quiet.seen.Renewals
	return crowdCost{
		waiting: rate(quiet.requests), pings: rate(quiet.pings), renewals: rate(renewals), beyond: rate(quiet.asked() - renewals),
	}
}

// census of ours is settled; the others ask all the time.
func (w *waitingCrowd) census() (account, error) {
	return audit(w.server, w.holder.requests, w.seen, w.kind == ourLocker)
}

func (w *waitingCrowd) seen() (sum counts, err error) {
	sum, err = seenBy(w.all)
	sum.Renewals += renewed.Load() // the holder's
	return sum, err
}

// What is printed.

// lines are what ours asked for and why, beside each of the others.
func (c crowdOf) lines(ours crowdCost, peers []crowdCost) (lines []line) {
	what := crowdOf100 + ": "
	one := func(name string, v float64, u unit, t target) {
		lines = append(lines, line{what: what + name, ours: u.format(v), target: t, got: v})
	}
	against := func(name string, u unit, our float64, p crowdCost, its float64, t target) {
		l := line{what: what + name, ours: u.format(our), peer: p.name(), theirs: u.format(its), target: t}
		if its > 0 { // a smoke run's peer may not have asked at all
			l.got = our / its
			l.ratio = fmt.Sprintf("%.3f", l.got)
		}
		lines = append(lines, l)
	}
	const handOff, waiting = "requests a hand-off", "requests while all only wait"
	one(handOff, ours.handOff, plain, c.handOff)
	for _, p := range peers {
		against(handOff, plain, ours.handOff, p, p.handOff, target{})
	}
	for i, p := range peers {
		against(waiting, perSecond, ours.waiting, p, p.waiting, c.peers[i].target)
	}
	one("of these, renewals", ours.renewals, perSecond, target{})
	if c.pings != "" {
		one("of these, "+c.pings, ours.pings, perSecond, target{})
	}
	one("of these, anything else", ours.beyond, perSecond, target{zero: true})
	return lines
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
