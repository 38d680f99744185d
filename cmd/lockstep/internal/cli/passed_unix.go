//go:build unix

package cli

import (
	"os"
	"syscall"
)

// passedOnOnly: a signal that is for the command, and asks for no end.
func passedOnOnly(s os.Signal) bool { return s == syscall.SIGUSR1 || s == syscall.SIGUSR2 }
