package main

import (
	"fmt"
	"time"
)

// table is the rows of one engine, in the order in which they are printed.
type table struct {
	name string // for -only
	rows []row
}

// row measures one thing and says what came of it, in a line or some.
type row interface {
	name() string
	measure(b *bench) ([]line, error)
}

// bench is what the rows of one run have in common.
type bench struct {
	dir   string // on a disk; each contender makes its own folder in it
	pairs int
	smoke bool                             // only see whether everything runs
	raw   func(format string, args ...any) // keeps what the medians were made of
}

// count is n, or a few in a smoke run.
func (b *bench) count(n int) int {
	if b.smoke {
		return max(2, n/500)
	}
	return n
}

// while is d, or a moment in a smoke run.
func (b *bench) while(d time.Duration) time.Duration {
	if b.smoke {
		return d / 50
	}
	return d
}

// line is one line of the printed table. What has no peer is judged by itself.
type line struct {
	what   string
	ours   string
	peer   string // "": there is none
	theirs string
	ratio  string
	target target
	got    float64 // what target is about
}

// target is what MEASURED.md asks of a median. The zero target asks nothing:
// the line is there for reference, or is the price of something.
type target struct {
	atMost, atLeast float64
	zero            bool // exactly none
	unit            string
}

func (t target) String() string {
	switch {
	case t.zero:
		return "0"
	case t.atMost > 0:
		return fmt.Sprintf("≤ %g%s", t.atMost, t.unit)
	case t.atLeast > 0:
		return fmt.Sprintf("≥ %g%s", t.atLeast, t.unit)
	}
	return ""
}

func (t target) verdict(got float64) string {
	switch {
	case t.String() == "":
		return ""
	case t.zero && got == 0, t.atMost > 0 && got <= t.atMost, t.atLeast > 0 && got >= t.atLeast:
		return "met"
	}
	return "missed"
}

// unit is how a figure is written.
type unit string

const (
	microseconds unit = "µs"
	perSecond    unit = "/s"
	bytesEach    unit = "B"
	plain        unit = ""
)

func (u unit) format(v float64) string {
	if u == microseconds && v < 0.1 {
		return fmt.Sprintf("%.1f ns", v*1000)
	}
	digits := 0
	switch {
	case v != 0 && v < 10 && v > -10:
		digits = 2
	case v < 100 && v > -100:
		digits = 1
	}
	if v == 0 {
		digits = 0
	}
	s := fmt.Sprintf("%.*f", digits, v)
	switch u {
	case plain:
		return s
	case perSecond:
		return s + string(u)
	}
	return s + " " + string(u)
}
