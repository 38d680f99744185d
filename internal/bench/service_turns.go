package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Turns as in file_turns.go, and what they cost the server.

// turnsOf is who else takes turns.
type turnsOf struct {
	peer    string
	floor   string // what takes turns without being a lock; "": nothing
	target  target
	longest target // of the longest wait beside the mean
}

func serviceTurnsRow(at countingServer, m turnsOf) row {
	return comparison{
		what: turnsOf16, unit: perSecond, ours: takesTurns(at, ourLocker), peer: takesTurns(at, m.peer), target: m.target,
		also: func(ours, theirs sampler) []line { return m.lines(ours.(*countedTurns), theirs.(*countedTurns)) },
	}
}

// turnsFloorRow is beside what no lock of the service can be faster than.
func turnsFloorRow(at countingServer, m turnsOf) row {
	return comparison{what: turnsOf16, unit: perSecond, ours: takesTurns(at, ourLocker), peer: takesTurns(at, m.floor)}
}

func takesTurns(at countingServer, kind string) contender {
	return contender{kind, func(b *bench) (sampler, error) { return newCountedTurns(b, at, kind) }}
}

// countedTurns is a sampler: hand-offs per second.
type countedTurns struct {
	*turns

	server countingServer
	sends  []string
	cost   tally // of all samples
}

func newCountedTurns(b *bench, at countingServer, kind string) (sampler, error) {
	l, err := openLocker(kind, at.URL()) // for what it sends
	if err != nil {
		return nil, err
	}
	if err := l.close(); err != nil {
		return nil, err
	}
	t, err := newTurns(b, 16, false, "service-turns", job{URL: at.URL(), Kind: kind})
	return &countedTurns{turns: t, server: at, sends: l.requests}, err
}

func (t *countedTurns) sample() (float64, error) {
	before, err := t.server.received(t.sends)
	if err != nil {
		return 0, err
	}
	rate, err := t.turns.sample()
	if err != nil {
		return 0, err
	}
	after, err := t.server.received(t.sends)
	t.cost = t.cost.plus(after.minus(before))
	return rate, err
}

func (t *countedTurns) requestsEach() float64 {
	return float64(t.cost.requests) / float64(t.total.Turns)
}
func (t *countedTurns) commandsEach() float64 {
	return float64(t.cost.commands) / float64(t.total.Turns)
}

// lines are on what both ask for a turn, and on who has how many. What polling costs is
// judged where all only wait: service_crowd.go.
func (m turnsOf) lines(ours, theirs *countedTurns) []line {
	what := turnsOf16 + ": "
	each := func(name string, our, its float64) line {
		return line{
			what: what + name, ours: plain.format(our), peer: m.peer, theirs: plain.format(its), ratio: fmt.Sprintf("%.3f", our/its),
		}
	}
	lines := []line{each("requests each", ours.requestsEach(), theirs.requestsEach())}
	if theirs.cost.commands > 0 { // and the server tells
		lines = append(lines, each("commands each, those in scripts among them", ours.commandsEach(), theirs.commandsEach()))
	}
	return append(lines, fairness(what, m.peer, ours.turns, theirs.turns, target{atLeast: 0.99}, m.longest)...)
}

func newServiceTurns(j job) (worker, error) {
	l, err := openLocker(j.Kind, j.URL)
	if err != nil {
		return nil, err
	}
	last, err := os.OpenFile(filepath.Join(j.Dir, "last"), os.O_RDWR, 0)
	if err != nil {
		return nil, errors.Join(err, l.close())
	}
	return &turnsRole{last: last, me: uint64(os.Getpid()), end: l.close, lock: func() (func() error, error) { return l.lock(lockName) }}, nil
}
