// Command bench measures Lockstep side by side with its peers and prints a
// table for each engine.
//
// A machine of today has no speed of its own: what a clock says of one operation
// doubles with a busy neighbour or a sleeping core. So nothing here compares two
// runs. A row takes a sample of ours, one of the peer's, ours again, … and what
// counts is the median of the ratios of neighbours, with its interval
// (compare.go, stats.go). Absolute figures stand beside it to show the order of
// magnitude.
//
// Where two processes are meant there are two: the program starts itself again
// in a role (worker.go). Times of two processes are compared on the one monotonic
// clock that they share.
//
// To add an engine: a file with its [table], listed in main.go. Its rows are
// comparisons of two contenders, or rows of their own that count something.
package main
