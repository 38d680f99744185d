package demo

import (
	"context"
	"errors"
)

// Worker is for systems that have the demo.
func Worker([]string) int { return 64 }

// Run says that there is no demo here: it freezes a process, which takes the
// signals of Unix.
func Run(context.Context, Screen) error {
	return errors.New("the demo freezes a process, which it cannot on Windows; lockstep lock works there")
}
