package guard

import (
	"bytes"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// adopt makes this process the parent of descendants whose own parent ended: the
// guardian of the group's orphans, the command of the whole group when the
// guardian was killed. Without it (an old kernel) orphans go to init.
func adopt() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// rename is what `ps` and `pgrep` show: what was started through /proc/self/exe
// would be called "exe".
func rename(name string) { _ = os.WriteFile("/proc/self/comm", []byte(name), 0) }

// self is this very executable, also after an upgrade replaced the file.
func self() (string, error) { return "/proc/self/exe", nil }

// childAttr: a group of its own, and the end of the leader if the guardian is
// killed. Pdeathsig belongs to the thread that starts the child, so the guardian
// keeps to one.
func childAttr() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// onlyZombies: every member that is left is dead and waits for its parent.
func onlyZombies(pgid int) bool {
	dir, err := os.Open("/proc")
	if err != nil {
		return false
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return false
	}
	for _, name := range names {
		if name[0] < '0' || name[0] > '9' {
			continue
		}
		if state, grp := stat(name); grp == pgid && state != 'Z' && state != 'X' {
			return false
		}
	}
	return true
}

// stat is a process's state and group; a process that is gone has group 0.
func stat(pid string) (state byte, pgid int) {
	line, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return 0, 0
	}
	// pid (name) state ppid pgrp …: the name may hold anything, also ")".
	_, rest, _ := bytes.Cut(line[max(bytes.LastIndexByte(line, ')'), 0):], []byte(" "))
	f := bytes.Fields(rest)
	if len(f) < 3 {
		return 0, 0
	}
	pgid, _ = strconv.Atoi(string(f[2]))
	return f[0][0], pgid
}
