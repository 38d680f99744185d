package childproc

import "syscall"

// dieWithParent: a test that panics or runs out of time runs no cleanup. And a
// process group of its own: where a shell's job is left alone and a member of its
// group is stopped, the kernel hangs up on all of them.
func dieWithParent() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
