package main

import (
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Turns as in file_turns.go, and what they cost the server.

const turnsSpan = 500 * time.Millisecond

// redisTurns is a sampler: hand-offs per second.
type redisTurns struct {
	turns

	server   *redisServer
	sends    []string
	requests int64 // over all samples
	commands int64 // those inside of scripts included
	shares   []int // grants of each process
}

func redisTurnsContender(s *redisServer, kind string, processes int) contender {
	return contender{kind, func(b *bench) (sampler, error) {
		dir, err := b.folder("turns")
		if err != nil {
			return nil, err
		}
		if err := os.WriteFile(filepath.Join(dir, "last"), make([]byte, 8), 0o600); err != nil {
			return nil, err
		}
		all, err := startAll(processes, false, "redis-turns", job{Dir: dir, URL: s.Addr, Kind: kind})
		if err != nil {
			return nil, err
		}
		l, err := openLocker(kind, s.Addr) // for what it sends
		if err != nil {
			return nil, err
		}
		return &redisTurns{
			turns: turns{all: all, span: b.while(turnsSpan)}, server: s, sends: l.requests, shares: make([]int, processes),
		}, l.close()
	}}
}

func (t *redisTurns) sample() (float64, error) {
	before, err := t.server.Calls()
	if err != nil {
		return 0, err
	}
	reports, err := askAll(t.all, order{Do: "turns", At: monotonic() + int64(t.span)})
	if err != nil {
		return 0, err
	}
	after, err := t.server.Calls()
	if err != nil {
		return 0, err
	}
	for name, n := range after {
		t.commands += n - before[name]
	}
	for _, name := range t.sends {
		t.requests += after[name] - before[name]
	}
	handed := 0
	for i, r := range reports {
		handed += r.Took.Turns
		t.shares[i] += r.Took.Turns + r.Took.Repeats
		t.total.add(r.Took)
	}
	return float64(handed) / t.span.Seconds(), nil
}

// add sums up.
func (t *turnsReport) add(o turnsReport) {
	t.Turns += o.Turns
	t.Repeats += o.Repeats
	t.Waited += o.Waited
	t.Longest = max(t.Longest, o.Longest)
}

func (t *redisTurns) requestsEach() float64 { return float64(t.requests) / float64(t.total.Turns) }
func (t *redisTurns) commandsEach() float64 { return float64(t.commands) / float64(t.total.Turns) }

// jain is the index of fairness: 1 where all shares are the same, 1/n where one
// has all.
func (t *redisTurns) jain() float64 {
	sum, squares := 0.0, 0.0
	for _, n := range t.shares {
		sum += float64(n)
		squares += float64(n) * float64(n)
	}
	return sum * sum / (float64(len(t.shares)) * squares)
}

func alsoTurns(what, peer string) func(ours, theirs sampler) []line {
	return func(ours, theirs sampler) []line {
		o, p := ours.(*redisTurns), theirs.(*redisTurns)
		asked, done := o.requestsEach()/p.requestsEach(), o.commandsEach()/p.commandsEach()
		two := func(name, format string, our, its float64) line {
			return line{what: what + ": " + name, ours: fmt.Sprintf(format, our), peer: peer, theirs: fmt.Sprintf(format, its)}
		}
		requests := two("requests each", "%.2f", o.requestsEach(), p.requestsEach())
		requests.ratio = fmt.Sprintf("%.3f", asked) // what polling costs is judged where all only wait: redis_crowd.go
		commands := two("commands each, those in scripts among them", "%.1f", o.commandsEach(), p.commandsEach())
		commands.ratio = fmt.Sprintf("%.3f", done)
		jain := two("Jain's index of the shares", "%.4f", o.jain(), p.jain())
		jain.target, jain.got = target{atLeast: 0.99}, o.jain()
		return []line{requests, commands, jain, two("longest wait / mean", "%.1f ×", o.longestOverMean(), p.longestOverMean())}
	}
}

func newRedisTurnsRole(j job) (worker, error) {
	l, err := openLocker(j.Kind, j.URL)
	if err != nil {
		return nil, err
	}
	last, err := os.OpenFile(filepath.Join(j.Dir, "last"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return &turnsRole{last: last, me: uint64(os.Getpid()), end: l.close, lock: func() (func() error, error) { return l.lock(lockName) }}, nil
}
