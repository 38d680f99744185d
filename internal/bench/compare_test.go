package main

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// scripted is a sampler that gives what it was told to, and notes its turn.
type scripted struct {
	name  string
	gives []float64
	turns *[]string
}

func (s *scripted) sample() (float64, error) {
	*s.turns = append(*s.turns, s.name)
	v := s.gives[0]
	s.gives = s.gives[1:]
	return v, nil
}

func (s *scripted) close() error {
	*s.turns = append(*s.turns, "end-of-"+s.name)
	return nil
}

func scriptedRow(turns *[]string, ours, peer []float64) comparison {
	with := func(name string, gives []float64) contender {
		return contender{name, func(*bench) (sampler, error) { return &scripted{name, slices.Clone(gives), turns}, nil }}
	}
	return comparison{what: "x", unit: microseconds, ours: with("A", ours), peer: with("B", peer), target: target{atMost: 0.5}}
}

func quiet(pairs int) *bench { return &bench{pairs: pairs, raw: func(string, ...any) {}} }

func TestContendersTakeTurns(t *testing.T) {
	var turns []string
	if _, err := scriptedRow(&turns, []float64{1, 1, 1}, []float64{1, 1, 1}).measure(quiet(2)); err != nil {
		t.Fatal(err)
	}
	if got, want := strings.Join(turns, " "), "A B A B A B end-of-B end-of-A"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// A machine that slows down tenfold between pairs changes no ratio. The ratio of
// the medians would be 10 / 20 here as well; of the first and last pair alone it
// would not.
func TestARatioIsOfNeighbours(t *testing.T) {
	var turns []string
	lines, err := scriptedRow(&turns, []float64{99, 1, 40, 100}, []float64{1, 4, 80, 300}).measure(quiet(3))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := lines[0].ratio, "0.333 [min 0.250, max 0.500]"; got != want {
		t.Errorf("got %q, want %q: the first pair only warms up", got, want)
	}
}

func TestATargetIsJudgedByTheMedian(t *testing.T) {
	for _, c := range []struct {
		target target
		got    float64
		want   string
	}{
		{target{atMost: 0.33}, 0.33, "met"},
		{target{atMost: 0.33}, 0.331, "missed"},
		{target{atLeast: 0.5}, 0.5, "met"},
		{target{atLeast: 0.5}, 0.4, "missed"},
		{target{zero: true}, 0, "met"},
		{target{zero: true}, 0.1, "missed"},
		{target{}, 7, ""},
	} {
		if got := c.target.verdict(c.got); got != c.want {
			t.Errorf("%v of %v: got %q, want %q", c.got, c.target, got, c.want)
		}
	}
}

func TestALoopIsTheMedianOfItsOperations(t *testing.T) {
	n := 0
	l := loop{n: 3, each: 1000, op: func() error {
		if n++; n == 2 {
			time.Sleep(50 * time.Millisecond) // one that was held up
		}
		return nil
	}}
	if got, err := l.sample(); err != nil || got >= 50 {
		t.Errorf("got %v µs, %v: one of three held up all", got, err)
	}
}

func TestFiguresAreReadable(t *testing.T) {
	for _, c := range []struct {
		unit unit
		v    float64
		want string
	}{
		{microseconds, 0.0046, "4.6 ns"},
		{microseconds, 1.853, "1.85 µs"},
		{microseconds, 93.64, "93.6 µs"},
		{microseconds, 213.7, "214 µs"},
		{perSecond, 0, "0/s"},
		{perSecond, 7541.2, "7541/s"},
		{bytesEach, 527, "527 B"},
		{plain, 1.01, "1.01"},
	} {
		if got := c.unit.format(c.v); got != c.want {
			t.Errorf("%v is printed as %q, want %q", c.v, got, c.want)
		}
	}
}
