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

type redisCrowdRow struct {
	server *redisServer
	what   string
	peers  []string
	polls  string // that one of the peers whose requests the target is about
}

func (c redisCrowdRow) name() string { return c.what }

func (c redisCrowdRow) measure(b *bench) ([]line, error) {
	ours, err := c.count(b, ourLocker)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", ourLocker, err)
	}
	all := make(map[string]crowdCost)
	for _, kind := range c.peers {
		if all[kind], err = c.count(b, kind); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
	}
	return c.lines(ours, all), nil
}

// crowdCost is what one kind's crowd asked for.
type crowdCost struct {
	handOff                 float64 // requests each
	waiting                 float64 // requests per second while all only wait
	renewals, pings, beyond float64 // of these
	waiters, done           float64 // those that there were, and that had the lock in time
}

func (c redisCrowdRow) count(b *bench, kind string) (cost crowdCost, err error) {
	processes, each := crowdProcesses, crowdEach
	if b.smoke {
		processes, each = 2, 2
	}
	holder, err := openLocker(kind, c.server.Addr)
	if err != nil {
		return cost, err
	}
	unlock, err := c.hold(holder)
	if err != nil {
		return cost, errors.Join(err, holder.close())
	}
	all, err := startAll(processes, false, "redis-crowd", job{URL: c.server.Addr, Kind: kind, N: each})
	if err != nil {
		return cost, errors.Join(err, unlock(), holder.close())
	}
	w := &redisCrowd{server: c.server, kind: kind, holder: holder, all: all, waiters: processes * each}
	defer func() {
		// A kind that hangs leaves its lock, and the next one wants the same key.
		err = errors.Join(err, holder.close(), closeAll(all))
		_, flushed := c.server.Do("FLUSHALL")
		err = errors.Join(err, flushed)
	}()
	return w.count(b, unlock)
}

// hold is for as long as the row takes. What a user's own renewals would cost is
// not counted.
func (c redisCrowdRow) hold(holder *locker) (unlock func() error, err error) {
	unlock, err = holder.lock(lockName)
	if err == nil && holder.expires {
		_, err = c.server.Do("PERSIST", lockName)
	}
	return unlock, err
}

// redisCrowd is one kind's.
type redisCrowd struct {
	server  *redisServer
	kind    string
	holder  *locker
	all     []*process
	waiters int
}

func (w *redisCrowd) count(b *bench, unlock func() error) (cost crowdCost, err error) {
	settles, idle, passes := b.while(crowdSettles), b.while(crowdIdle), b.while(crowdPasses)
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
	late := time.Now().Add(passes)
	if err := until(func() (bool, error) {
		now, err := w.seen()
		return now.Done == w.waiters || time.Now().After(late), err
	}); err != nil {
		return cost, err
	}
	ended, err := w.census()
	if err != nil {
		return cost, err
	}
	cost = began.waiting(rested, idle)
	cost.waiters, cost.done = float64(w.waiters), float64(ended.seen.Done)
	cost.handOff = float64(ended.requests-rested.requests) / max(cost.done, 1)
	b.raw("100 waiters on one name\t%s: in %v of waiting %d requests, %d of them PINGs, %d renewals of ours; in %.0f of %d hand-offs %d requests",
		w.kind, idle, rested.requests-began.requests, rested.pings-began.pings, rested.seen.Renewals-began.seen.Renewals,
		cost.done, w.waiters, ended.requests-rested.requests)
	return cost, nil
}

// enter returns when each of the waiters has asked once.
func (w *redisCrowd) enter(quiet time.Duration) error {
	before, err := w.census()
	if err != nil {
		return err
	}
	if _, err := askAll(w.all, order{Do: "enter", At: int64(quiet)}); err != nil {
		return err
	}
	return until(func() (bool, error) {
		now, err := w.census()
		return now.asked()-before.asked() >= int64(w.waiters), err
	})
}

// crowdCensus is what was asked of the server up to now, and what the waiters know.
type crowdCensus struct {
	requests, pings int64
	seen            counts
}

func (c crowdCensus) asked() int64 { return c.requests - c.pings }

func (c crowdCensus) waiting(later crowdCensus, d time.Duration) (cost crowdCost) {
	rate := func(n int64) float64 { return float64(n) / d.Seconds() }
	requests, pings, renewals := later.requests-c.requests, later.pings-c.pings, later.seen.Renewals-c.seen.Renewals
	return crowdCost{waiting: rate(requests), pings: rate(pings), renewals: rate(renewals), beyond: rate(requests - pings - renewals)}
}

// census of ours is taken at a moment when no renewal is under way, or it would
// be in one of two counts that are compared.
func (w *redisCrowd) census() (c crowdCensus, err error) {
	for {
		if c, err = w.requests(); err != nil {
			return c, err
		}
		if c.seen, err = w.seen(); err != nil {
			return c, err
		}
		after, err := w.requests()
		if err != nil || w.kind != ourLocker || after.asked() == c.asked() {
			return c, err
		}
	}
}

func (w *redisCrowd) requests() (c crowdCensus, err error) {
	all, err := w.server.Calls()
	for _, name := range w.holder.requests {
		c.requests += all[name]
	}
	c.pings = all["ping"]
	return c, err
}

func (w *redisCrowd) seen() (sum counts, err error) {
	sum, err = seenBy(w.all)
	sum.Renewals += renewed.Load() // the holder's
	return sum, err
}

// What is printed.

func (c redisCrowdRow) lines(ours crowdCost, all map[string]crowdCost) (lines []line) {
	one := func(name string, v float64, u unit, t target) {
		lines = append(lines, line{what: c.what + ": " + name, ours: u.format(v), target: t, got: v})
	}
	against := func(name string, u unit, of func(crowdCost) float64, targets map[string]target) {
		for _, kind := range c.peers {
			its := all[kind]
			l := line{what: c.what + ": " + name, ours: u.format(of(ours)), peer: kind, theirs: u.format(of(its)), target: targets[kind]}
			if its.done < its.waiters {
				l.peer += fmt.Sprintf(" (%.0f of %.0f passed)", its.done, its.waiters)
			}
			if of(its) > 0 { // a smoke run's peer may not have asked at all
				l.got = of(ours) / of(its)
				l.ratio = fmt.Sprintf("%.3f", l.got)
			}
			lines = append(lines, l)
		}
	}
	const handOff, waiting = "requests a hand-off", "requests while all only wait"
	one(handOff, ours.handOff, plain, target{atMost: 2})
	against(handOff, plain, func(c crowdCost) float64 { return c.handOff }, nil)
	against(waiting, perSecond, func(c crowdCost) float64 { return c.waiting }, map[string]target{c.polls: {atMost: 0.1}})
	one("of these, renewals", ours.renewals, perSecond, target{})
	one("of these, PINGs on silent connections", ours.pings, perSecond, target{})
	one("of these, anything else", ours.beyond, perSecond, target{zero: true})
	return lines
}

// A process of the crowd.

type redisCrowdRole struct {
	passing

	lockers []*locker
}

func newRedisCrowdRole(j job) (worker, error) {
	r := &redisCrowdRole{}
	for range j.N {
		l, err := openLocker(j.Kind, j.URL)
		if err != nil {
			return nil, errors.Join(err, r.close())
		}
		r.lockers = append(r.lockers, l)
	}
	return r, nil
}

func (r *redisCrowdRole) obey(o order) (report, error) {
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
func (r *redisCrowdRole) pass(l *locker) {
	unlock, err := l.lock(lockName)
	sleepless.Store(0)
	if err == nil {
		err = unlock()
	}
	r.passed(err)
}

func (r *redisCrowdRole) close() error {
	var errs []error
	for _, l := range r.lockers {
		errs = append(errs, l.close())
	}
	return errors.Join(errs...)
}
