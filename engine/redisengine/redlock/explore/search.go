package main

import (
	"fmt"
	"hash/maphash"
)

// search goes through all states of a case, nearest first.
type search struct {
	cfg           *config
	seeds         [2]maphash.Seed
	seen          *seen
	queue         []state // to be looked at next
	grants, steps int
	fault         string
	way           []string // to the fault, where it is kept

	trace   bool
	from    fingerprint
	parents map[fingerprint]step
}

// step is how a state was reached.
type step struct {
	from fingerprint
	what string
}

// fingerprint stands for a state: two states have one with a chance of 2^-128.
type fingerprint [2]uint64

func explore(cfg *config, trace bool) *search {
	x := &search{cfg: cfg, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}, seen: newSeen(), trace: trace}
	if trace {
		x.parents = make(map[fingerprint]step)
	}
	x.begin(0, 0, state{})
	for len(x.queue) > 0 && x.fault == "" {
		now := x.queue
		x.queue = nil
		for i := range now {
			if x.fault != "" {
				break
			}
			if trace {
				x.from = x.fingerprint(&now[i])
			}
			if cfg.broken != noSecondRound && !x.known(&now[i]) {
				x.fail(event{}, "a token that was granted is not known to a majority")
				break
			}
			x.next(now[i])
		}
	}
	return x
}

// begin makes every beginning: nodes may have counted differently before.
func (x *search) begin(i int, least uint8, s state) {
	if i == x.cfg.nodes {
		x.push(s, ev("nodes have counted"))
		return
	}
	for n := least; n <= x.cfg.counted; n++ {
		s.nodes[i].count = n
		x.begin(i+1, n, s)
	}
}

func (x *search) fingerprint(s *state) fingerprint {
	var buf [128]byte
	b := s.key(x.cfg, buf[:0])
	f := fingerprint{maphash.Bytes(x.seeds[0], b), maphash.Bytes(x.seeds[1], b)}
	if f == (fingerprint{}) {
		f[0] = 1
	}
	return f
}

// push has a state looked at, unless it was.
func (x *search) push(s state, what event) {
	x.steps++
	f := x.fingerprint(&s)
	if !x.seen.add(f) {
		return
	}
	if x.trace {
		x.parents[f] = step{x.from, what.String()}
	}
	x.queue = append(x.queue, s)
}

// event is what happened, in words that are put together only where they are read.
type event struct {
	format string
	args   [3]int
	n      int
}

func ev(format string, args ...int) event {
	e := event{format: format, n: len(args)}
	copy(e.args[:], args)
	return e
}

func (e event) String() string {
	args := make([]any, e.n)
	for i := range args {
		args[i] = e.args[i]
	}
	return fmt.Sprintf(e.format, args...)
}

// fail ends the search.
func (x *search) fail(how event, format string, args ...any) {
	if x.fault != "" {
		return
	}
	x.fault = fmt.Sprintf(format, args...)
	if !x.trace {
		return
	}
	for f := x.from; ; {
		p, ok := x.parents[f]
		if !ok {
			break
		}
		x.way = append([]string{p.what}, x.way...)
		f = p.from
	}
	x.way = append(x.way, how.String())
}

// seen is a set of fingerprints: a table with open addresses, a third of whose
// places are free at least.
type seen struct {
	table []fingerprint
	n     int
}

func newSeen() *seen { return &seen{table: make([]fingerprint, 1<<16)} }

func (s *seen) add(f fingerprint) bool {
	if s.n*3 > len(s.table)*2 {
		old := s.table
		s.table, s.n = make([]fingerprint, 2*len(old)), 0
		for _, g := range old {
			if g != (fingerprint{}) {
				s.add(g)
			}
		}
	}
	mask := uint64(len(s.table) - 1)
	for i := f[0] & mask; ; i = (i + 1) & mask {
		switch s.table[i] {
		case f:
			return false
		case fingerprint{}:
			s.table[i] = f
			s.n++
			return true
		}
	}
}
