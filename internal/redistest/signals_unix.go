//go:build unix

package redistest

import "syscall"

const (
	terminate = syscall.SIGTERM
	pause     = syscall.SIGSTOP
	resume    = syscall.SIGCONT
)
