package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"
)

// server is a real one on loopback, on a free port, for one row; the five nodes of
// Redlock are one as well.
type server interface {
	// URL is Lockstep's own, from which workers know which service it is.
	URL() string
	// waits is for whoever holds lockName: what it returns says whether another has
	// come to wait for it since.
	waits(holder *locker) (func() (bool, error), error)
	stop() error
}

// countingServer tells what clients ask of it, and what it keeps for them.
type countingServer interface {
	server

	// received is up to now, and only of those commands that clients of a kind send
	// by themselves, where the service has commands.
	received(sent []string) (tally, error)
	// queue is as waits is, for n who come.
	queue(holder *locker, n int) (func() (bool, error), error)
	// watches is how many the server has for all who watch maps.
	watches() (float64, error)
	// keep has a lock last whose user would have to renew it.
	keep(name string) error
	// clear removes what a row has left behind.
	clear() error
}

// tally is of requests, as a server counts them.
type tally struct {
	requests int64
	pings    int64 // of these, where it tells; a ZooKeeper counts reads with them
	commands int64 // all that were carried out, those in scripts among them; where it tells
}

func (t tally) asked() int64 { return t.requests - t.pings }

func (t tally) minus(o tally) tally {
	return tally{t.requests - o.requests, t.pings - o.pings, t.commands - o.commands}
}

func (t tally) plus(o tally) tally {
	return tally{t.requests + o.requests, t.pings + o.pings, t.commands + o.commands}
}

// account is what was asked of a server up to now, and what the clients know of it.
type account struct {
	tally

	seen counts
}

func (a account) minus(o account) account {
	return account{a.tally.minus(o.tally), a.seen.minus(o.seen)}
}

// audit is an account. A settled one is of a moment when no renewal is under way, or
// that would be in one of two that are compared: two looks in turn are the same.
func audit(at countingServer, sent []string, seen func() (counts, error), settled bool) (account, error) {
	look := func() (a account, err error) {
		if a.tally, err = at.received(sent); err != nil {
			return a, err
		}
		a.seen, err = seen()
		return a, err
	}
	last, err := look()
	for err == nil && settled {
		var now account
		now, err = look()
		same := now.asked() == last.asked() && now.seen.Renewals == last.seen.Renewals
		last = now
		if same {
			break
		}
	}
	return last, err
}

// sessions is a service in which locks live as long as their client's session: none
// has to be renewed by its user, and none is left behind.
type sessions struct{}

func (sessions) keep(string) error { return nil }
func (sessions) clear() error      { return nil }

// quietSince says whether a server has received something since, and then nothing more
// between two looks: whoever came, waits.
func quietSince(s countingServer) (func() (bool, error), error) {
	before, err := s.received(nil)
	last := before
	return func() (bool, error) {
		now, err := s.received(nil)
		quiet := now == last && now.requests > before.requests
		last = now
		return quiet, err
	}, err
}

// onServer is a row that needs a server, and gets one for itself.
type onServer[S server] struct {
	what  string
	start func(*bench) (S, error)
	row   func(at S) row
}

func (r onServer[S]) name() string { return r.what }

func (r onServer[S]) measure(b *bench) (lines []line, err error) {
	at, err := r.start(b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, at.stop()) }()
	return r.row(at).measure(b)
}

// Where processes are pinned a server has the first core for itself, and the single
// client of a row another: one that shares a core with its server saves wake-ups that
// no user saves.
const serverCore = 0

func pin(pid int) error {
	if onCore(serverCore) == nil {
		return nil
	}
	out, err := exec.Command("taskset", "-a", "-c", "-p", strconv.Itoa(serverCore), strconv.Itoa(pid)).CombinedOutput()
	if err != nil {
		return fmt.Errorf("taskset: %w: %s", err, out)
	}
	return nil
}

// clientCore is a command that runs one client beside the server.
func clientCore() []string {
	if cores() < 2 {
		return nil
	}
	return onCore(serverCore + 1)
}

// hosting is what a server for tests wants of a test, outside of one.
type hosting struct {
	cleanups []func()
	errs     []error
}

// serverFailed is panicked with, as a test would end here.
type serverFailed struct{ err error }

// host runs what starts a server, and pins it. After an error nothing of it is left.
func (h *hosting) host(start func() (pid int)) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case serverFailed:
			err = p.err
		default:
			panic(p)
		}
		if err != nil {
			err = errors.Join(err, h.stop())
		}
	}()
	return pin(start())
}

func (*hosting) Helper()             {}
func (*hosting) Logf(string, ...any) {}
func (h *hosting) Cleanup(f func())  { h.cleanups = append(h.cleanups, f) }
func (h *hosting) Errorf(format string, args ...any) {
	h.errs = append(h.errs, fmt.Errorf(format, args...))
}
func (h *hosting) Fatalf(format string, args ...any) {
	panic(serverFailed{fmt.Errorf(format, args...)})
}

func (h *hosting) stop() error {
	for len(h.cleanups) > 0 {
		last := len(h.cleanups) - 1
		f := h.cleanups[last]
		h.cleanups = h.cleanups[:last]
		f()
	}
	return errors.Join(h.errs...)
}
