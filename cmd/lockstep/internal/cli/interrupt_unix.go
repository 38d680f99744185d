//go:build unix

package cli

import (
	"os/signal"
	"syscall"
)

func interruptSelf() {
	signal.Reset(syscall.SIGINT)
	_ = syscall.Kill(0, syscall.SIGINT)
}
