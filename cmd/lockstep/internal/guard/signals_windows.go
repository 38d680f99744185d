package guard

import (
	"os"
	"os/signal"
)

// Signals are those that end the wait for a lock; the child shares our console and
// gets its own.
func Signals() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	signal.Notify(c, os.Interrupt)
	return c
}
