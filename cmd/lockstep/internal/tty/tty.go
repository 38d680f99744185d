// Package tty is what the command needs of a terminal: who is in its foreground,
// and whether to use colour.
package tty

import (
	"os"

	"golang.org/x/term"
)

// IsTerminal reports whether f is a terminal.
func IsTerminal(f *os.File) bool { return term.IsTerminal(int(f.Fd())) }

// Colour reports whether to colour what is written to f: it is a terminal that can,
// and the user did not ask for none (https://no-color.org).
func Colour(f *os.File) bool {
	return os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb" && IsTerminal(f)
}

// Width is how many columns f has; 80 where it does not say.
func Width(f *os.File) int {
	if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
		return w
	}
	return 80
}
