package main

import (
	"fmt"
	"time"
)

// pausesRow is what no lock can be better than: a loop that does nothing but read
// the clock, on each core at the same time, while nobody else is there. Where it
// stands still, somebody else has the core: the kernel, or the host of a virtual
// machine. A wait that is longer than that is the lock's, a shorter one may be
// anybody's.
type pausesRow struct{}

const pausesFor = 12 * time.Second // as long as both contenders of "taking turns" take

func (pausesRow) name() string { return "pauses of the machine itself" }

func (p pausesRow) measure(b *bench) ([]line, error) {
	all, err := startAll(cores(), true, "pauses", job{})
	if err != nil {
		return nil, err
	}
	reports, err := askAll(all, order{At: monotonic() + int64(b.while(pausesFor))})
	if err != nil {
		return nil, err
	}
	if err := closeAll(all); err != nil {
		return nil, err
	}
	var lines []line
	for i, r := range reports {
		b.raw("%s\tcore %d: the longest %v, %d of more than 1 ms, in %v", p.name(), i, r.Took.Longest, r.Took.Repeats, pausesFor)
		lines = append(lines, line{what: fmt.Sprintf("%s: the longest on core %d", p.name(), i), ours: microseconds.format(micros(r.Took.Longest))})
	}
	return lines, nil
}

// pausesRole reads the clock until it is time.
type pausesRole struct{}

func newPausesRole(job) (worker, error) { return pausesRole{}, nil }

func (pausesRole) obey(o order) (report, error) {
	var took turnsReport
	for last := monotonic(); last < o.At; {
		now := monotonic()
		paused := time.Duration(now - last)
		took.Longest = max(took.Longest, paused)
		if paused > time.Millisecond {
			took.Repeats++
		}
		last = now
	}
	return report{Took: took}, nil
}

func (pausesRole) close() error { return nil }
