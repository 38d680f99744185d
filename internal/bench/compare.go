package main

import (
	"errors"
	"fmt"
	"time"
)

// comparison is a row of two contenders that take turns (A B A B …).
type comparison struct {
	what   string
	unit   unit
	ours   contender
	peer   contender
	target target // of the ratio ours / peer
	// also says what else was seen on the way; nil: nothing.
	also func(ours, peer sampler) []line
}

// contender is one way of doing what a row measures.
type contender struct {
	name string
	open func(b *bench) (sampler, error)
}

// sampler is a contender that is set up. A sample is one figure in the row's
// unit, made of many operations.
type sampler interface {
	sample() (float64, error)
	close() error
}

func (c comparison) name() string { return c.what }

func (c comparison) measure(b *bench) (lines []line, err error) {
	ours, err := c.ours.open(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.ours.name, err)
	}
	defer func() { err = errors.Join(err, ours.close()) }()
	peer, err := c.peer.open(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", c.peer.name, err)
	}
	defer func() { err = errors.Join(err, peer.close()) }()

	// The first sample of each warms up and is thrown away.
	pairs, err := samplePairs(ours, peer, b.pairs+1)
	if err != nil {
		return nil, err
	}
	var mine, its, ratios []float64
	for _, p := range pairs[1:] {
		mine, its, ratios = append(mine, p[0]), append(its, p[1]), append(ratios, p[0]/p[1])
		b.raw("%s\t%s %s\t%s %s\t%.4f", c.what, c.ours.name, c.unit.format(p[0]), c.peer.name, c.unit.format(p[1]), p[0]/p[1])
	}
	ratio := over(ratios)
	lines = []line{{
		what: c.what, ours: c.unit.format(median(mine)),
		peer: c.peer.name, theirs: c.unit.format(median(its)),
		ratio: ratio.String(), target: c.target, got: ratio.median,
	}}
	if c.also != nil {
		lines = append(lines, c.also(ours, peer)...)
	}
	return lines, nil
}

func samplePairs(ours, peer sampler, n int) (pairs [][2]float64, err error) {
	for range n {
		var p [2]float64
		if p[0], err = ours.sample(); err != nil {
			return nil, err
		}
		if p[1], err = peer.sample(); err != nil {
			return nil, err
		}
		pairs = append(pairs, p)
	}
	return pairs, nil
}

// loop is a sampler of an operation that is timed by itself: its p50 in µs.
type loop struct {
	n    int // operations a sample
	op   func() error
	done func() error
	each int // what one op does so often, being too short to time; 0: once
}

func (l loop) sample() (float64, error) {
	took := make([]float64, l.n)
	for i := range took {
		began := time.Now()
		if err := l.op(); err != nil {
			return 0, err
		}
		took[i] = micros(time.Since(began))
	}
	return median(took) / float64(max(l.each, 1)), nil
}

func (l loop) close() error { return l.done() }

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
