package redistest

import "syscall"

// dieWithParent: a test that panics or runs out of time runs no cleanup.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}
