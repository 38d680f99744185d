package main

import (
	"errors"
	"fmt"
)

// contest is a comparison with several peers at once, each in pairs of its own
// (A B A B …, A C A C …, mixed so that all see the same hour). A target may be
// about the best of them, which the run itself finds out.
type contest struct {
	what string
	unit unit
	match

	// open sets up Lockstep or one of the peers.
	open func(b *bench, r rival) (sampler, error)
}

// match is who meets whom in a contest.
type match struct {
	ours  string
	best  target // of the ratio to the best of those peers that compete
	peers []rival
}

// rival is a contender of a kind in a contest. One that does not compete has a target
// of its own, or is there for reference.
type rival struct {
	kind     string
	competes bool
	target   target
	handOffs int // of a sample, where there are any; 0: as many as others have
}

func competitor(kind string) rival         { return rival{kind: kind, competes: true} }
func floor(kind string, t target) rival    { return rival{kind: kind, target: t} }
func forReference(kind string) rival       { return rival{kind: kind} }
func (c contest) name() string             { return c.what }
func (c contest) better(a, b float64) bool { return (a < b) == (c.best.atMost > 0) }

func (c contest) measure(b *bench) (lines []line, err error) {
	ours, peers, shut, err := c.openAll(b)
	defer func() { err = errors.Join(err, shut()) }()
	if err != nil {
		return nil, err
	}
	pairs := make([][][2]float64, len(peers))
	for range b.pairs + 1 { // the first pair of each warms up and is thrown away
		for i, peer := range peers {
			p, err := samplePairs(ours, peer, 1)
			if err != nil {
				return nil, fmt.Errorf("against %s: %w", c.peers[i].kind, err)
			}
			pairs[i] = append(pairs[i], p[0])
		}
	}
	best, top := -1, 0.0
	for i, r := range c.peers {
		l, its := c.line(b, r, pairs[i][1:])
		lines = append(lines, l)
		if r.competes && (best < 0 || c.better(its, top)) {
			best, top = i, its
		}
	}
	if best >= 0 {
		lines[best].peer += " (the best)"
		lines[best].target = c.best
	}
	return lines, nil
}

// line is ours against one peer, and the peer's median.
func (c contest) line(b *bench, r rival, pairs [][2]float64) (line, float64) {
	var mine, its, ratios []float64
	for _, p := range pairs {
		mine, its, ratios = append(mine, p[0]), append(its, p[1]), append(ratios, p[0]/p[1])
		b.raw("%s\t%s %s\t%s %s\t%.4f", c.what, c.ours, c.unit.format(p[0]), r.kind, c.unit.format(p[1]), p[0]/p[1])
	}
	ratio := over(ratios)
	return line{
		what: c.what, ours: c.unit.format(median(mine)), peer: r.kind, theirs: c.unit.format(median(its)),
		ratio: ratio.String(), target: r.target, got: ratio.median,
	}, median(its)
}

// openAll sets all contenders up. shut closes what was, also after an error.
func (c contest) openAll(b *bench) (ours sampler, peers []sampler, shut func() error, err error) {
	var all []sampler
	shut = func() error {
		var errs []error
		for _, s := range all {
			errs = append(errs, s.close())
		}
		return errors.Join(errs...)
	}
	for _, one := range append([]rival{{kind: c.ours}}, c.peers...) {
		s, err := c.open(b, one)
		if err != nil {
			return nil, nil, shut, fmt.Errorf("%s: %w", one.kind, err)
		}
		all = append(all, s)
	}
	return all[0], all[1:], shut, nil
}
