package main

import (
	"errors"
	"math/rand/v2"
	"time"
)

// Hand-offs as in file_handoff.go: of a lock, or of something else that another process
// has notice of. Whether that one waits for a lock is seen at the server.
//
// That is also the moment from which a client that polls counts its milliseconds.
// So a release comes at any time of many polls, and not of the first one only.

const manyPolls = 10 * time.Millisecond

// anyPhase is a rest of all contenders alike, for those that wait sleep.
func anyPhase() { time.Sleep(rand.N(manyPolls)) }

// handedOverRow is of locks, and of what is no lock as a floor.
func handedOverRow(at server, m match) row {
	return contest{handedOver, microseconds, m, func(b *bench, r rival) (sampler, error) {
		if _, locks := lockers[r.kind]; !locks {
			return noticeRelay(b, at, r)
		}
		return lockRelay(b, at, r)
	}}
}

// putToEventRow is of no locks.
func putToEventRow(at server, m match) row {
	return contest{putToEvent, microseconds, m, func(b *bench, r rival) (sampler, error) { return noticeRelay(b, at, r) }}
}

func lockRelay(b *bench, at server, r rival) (sampler, error) {
	l, err := openLocker(r.kind, at.URL())
	if err != nil {
		return nil, err
	}
	return relayTo("service-waiter", b, at, r, &lockGiver{locker: l, server: at})
}

func noticeRelay(b *bench, at server, r rival) (sampler, error) {
	g, err := notices[r.kind].giver(at.URL())
	if err != nil {
		return nil, err
	}
	return relayTo("service-watcher", b, at, r, g)
}

func relayTo(role string, b *bench, at server, r rival, g giver) (sampler, error) {
	other, err := start(role, job{URL: at.URL(), Kind: r.kind})
	if err != nil {
		return nil, errors.Join(err, g.close())
	}
	n := handOffs
	if r.handOffs > 0 {
		n = r.handOffs
	}
	return &relay{b.count(n), g, other}, nil
}

// notice is what tells another process something, and is no lock.
type notice struct {
	giver func(url string) (giver, error)
	role  func(url string) (worker, error)
}

// notices are by their names in the table.
var notices = map[string]notice{
	ourLocker:      {func(url string) (giver, error) { return newPutter(url) }, newWatcher},
	publishMessage: {newPublisher, newListener},
	rawDeleteEvent: {newRawDelete, newDeleteWatcher},
	rawPutEvent:    {newRawPut, newPutWatcher},
	rawSetEvent:    {newRawSet, newSetWatcher},
}

// lockGiver sees at the server whether the other side waits.
type lockGiver struct {
	*locker

	server server
	unlock func() error
	waits  func() (bool, error)
}

func (g *lockGiver) take() (err error) {
	if g.unlock, err = g.lock(lockName); err != nil {
		return err
	}
	g.waits, err = g.server.waits(g.locker)
	return err
}

func (g *lockGiver) waited() (bool, error) {
	waits, err := g.waits()
	if waits {
		anyPhase()
	}
	return waits, err
}

func (g *lockGiver) give() error  { return g.unlock() }
func (g *lockGiver) close() error { return g.locker.close() }

// always is a giver's who has nothing to take, and for whom the other side waits all
// the time.
type always struct{}

func (always) take() error           { return nil }
func (always) waited() (bool, error) { anyPhase(); return true, nil } //nolint:unparam // as a giver has it

// The other process.

func newServiceWaiter(j job) (worker, error) {
	l, err := openLocker(j.Kind, j.URL)
	if err != nil {
		return nil, err
	}
	return waiterRole{func() (int64, error) {
		unlock, err := l.lock(lockName)
		at := monotonic()
		if err != nil {
			return 0, err
		}
		return at, unlock()
	}, l.close}, nil
}

func newServiceWatcher(j job) (worker, error) { return notices[j.Kind].role(j.URL) }
