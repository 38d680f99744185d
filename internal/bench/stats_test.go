package main

import (
	"math"
	"testing"
)

// The ranks are those of the tables of the sign test.
func TestTheIntervalOfAMedianEnclosesItWithNinetyFivePercent(t *testing.T) {
	for n, want := range map[int]int{1: 0, 5: 0, 6: 1, 8: 1, 9: 2, 10: 2, 11: 2, 12: 3, 15: 4, 17: 5, 20: 6, 25: 8, 50: 18, 100: 40} {
		if got := rank(n); got != want {
			t.Errorf("of %d samples the interval begins with number %d, want %d", n, got, want)
		}
	}
}

func TestASpanIsTheMedianBetweenTwoOfTheSamples(t *testing.T) {
	s := over([]float64{7, 1, 10, 4, 3, 2, 6, 5, 9, 8})
	if want := (span{median: 5.5, low: 2, high: 9, exact: true}); s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

func TestTooFewSamplesGiveTheirExtremesAndSaySo(t *testing.T) {
	s := over([]float64{3, 1, 2})
	if want := (span{median: 2, low: 1, high: 3}); s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
	if got, want := s.String(), "2.000 [min 1.000, max 3.000]"; got != want {
		t.Errorf("printed as %q, want %q", got, want)
	}
}

func TestNoSamplesHaveNoMedian(t *testing.T) {
	if s := over(nil); !math.IsNaN(s.median) {
		t.Errorf("got %+v", s)
	}
}
