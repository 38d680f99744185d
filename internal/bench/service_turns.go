package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// Turns as in file_turns.go, and what they cost the server.

// turnsOf is who else takes turns, and what is said of both beside their rate.
type turnsOf struct {
	peer   string
	target target
	also   func(what, peer string) func(ours, theirs sampler) []line
}

func serviceTurnsRow(at countingServer, m turnsOf) row {
	by := func(kind string) contender {
		return contender{kind, func(b *bench) (sampler, error) { return newCountedTurns(b, at, kind) }}
	}
	return comparison{
		what: turnsOf16, unit: perSecond, ours: by(ourLocker), peer: by(m.peer), target: m.target, also: m.also(turnsOf16, m.peer),
	}
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

// costsOfTurns are the lines on what both ask of a Redis for a turn, and on who has how many.
func costsOfTurns(what, peer string) func(ours, theirs sampler) []line {
	return func(ours, theirs sampler) []line {
		o, p := ours.(*countedTurns), theirs.(*countedTurns)
		asked, done := o.requestsEach()/p.requestsEach(), o.commandsEach()/p.commandsEach()
		two := func(name, format string, our, its float64) line {
			return line{what: what + ": " + name, ours: fmt.Sprintf(format, our), peer: peer, theirs: fmt.Sprintf(format, its)}
		}
		requests := two("requests each", "%.2f", o.requestsEach(), p.requestsEach())
		requests.ratio = fmt.Sprintf("%.3f", asked) // what polling costs is judged where all only wait: service_crowd.go
		commands := two("commands each, those in scripts among them", "%.1f", o.commandsEach(), p.commandsEach())
		commands.ratio = fmt.Sprintf("%.3f", done)
		jain := two("Jain's index of the shares", "%.4f", o.jain(), p.jain())
		jain.target, jain.got = target{atLeast: 0.99}, o.jain()
		return []line{requests, commands, jain, two("longest wait / mean", "%.1f ×", o.longestOverMean(), p.longestOverMean())}
	}
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
