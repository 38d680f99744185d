package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

var head = []string{"", "Lockstep", "against", "its", "ratio [95 %]", "target", ""}

// printTable writes lines in columns. text/tabwriter would do, if it knew that
// numbers stand on the right.
func printTable(w io.Writer, name string, lines []line) error {
	rows := [][]string{head}
	for _, l := range lines {
		rows = append(rows, []string{l.what, l.ours, l.peer, l.theirs, l.ratio, l.target.String(), l.target.verdict(l.got)})
	}
	width := make([]int, len(head))
	for _, r := range rows {
		for i, cell := range r {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	if _, err := fmt.Fprintf(w, "\n%s\n", name); err != nil {
		return err
	}
	for _, r := range rows {
		var b strings.Builder
		for i, cell := range r {
			gap := strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell))
			if right := i == 1 || i == 3; right {
				b.WriteString("  " + gap + cell)
			} else {
				b.WriteString("  " + cell + gap)
			}
		}
		if _, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}
