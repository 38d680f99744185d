package main

import (
	"fmt"
	"math"
	"slices"
)

// span is a figure with what is known of it: the median of some samples, and an
// interval around it.
type span struct {
	median, low, high float64
	// exact: the interval covers the true median with at least 95 %. Otherwise
	// there were too few samples to say that, and it is min … max.
	exact bool
}

// over summarises samples. The interval makes no assumption about how they are
// distributed: each of n independent samples is above the true median with
// probability 1/2, so that the k-th smallest and the k-th greatest enclose it
// unless fewer than k samples fell on one side, which is a sum of binomials.
func over(samples []float64) span {
	s := slices.Sorted(slices.Values(samples))
	if len(s) == 0 {
		return span{median: math.NaN(), low: math.NaN(), high: math.NaN()}
	}
	k := rank(len(s))
	if k == 0 {
		return span{median: middle(s), low: s[0], high: s[len(s)-1]}
	}
	return span{median: middle(s), low: s[k-1], high: s[len(s)-k], exact: true}
}

// rank is the greatest k for which at most 2.5 % is left outside on each side;
// 0: not even the extremes enclose 95 %.
func rank(n int) int {
	k, outside, choose := 0, 0.0, 1.0
	for k <= n/2 {
		outside += choose / math.Exp2(float64(n))
		if outside > 0.025 {
			return k
		}
		choose *= float64(n-k) / float64(k+1)
		k++
	}
	return k
}

// middle is the median of sorted samples.
func middle(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

func median(samples []float64) float64 {
	return middle(slices.Sorted(slices.Values(samples)))
}

// String is the median and, in brackets, the interval; one that promises less
// than 95 % says so.
func (s span) String() string {
	if !s.exact {
		return fmt.Sprintf("%.3f [min %.3f, max %.3f]", s.median, s.low, s.high)
	}
	return fmt.Sprintf("%.3f [%.3f, %.3f]", s.median, s.low, s.high)
}
