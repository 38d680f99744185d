//go:build unix && !linux

package guard

import (
	"os"
	"syscall"
)

// What Linux has beyond this: see group_linux.go. Here orphans go to init, and the
// child survives if the guardian and the command are both killed at once.

func adopt()        {}
func rename(string) {}

func self() (string, error) { return os.Executable() }

func childAttr() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func onlyZombies(int) bool { return false }
