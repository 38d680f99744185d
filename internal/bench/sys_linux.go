package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// monotonic is a clock that all processes of the machine share, in ns.
func monotonic() int64 {
	var t unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) // cannot fail: every kernel has it
	return t.Nano()
}

func lockFile(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			return os.NewSyscallError("flock", err)
		}
	}
}

func unlockFile(f *os.File) error {
	return os.NewSyscallError("flock", unix.Flock(int(f.Fd()), unix.LOCK_UN))
}

func syncData(f *os.File) error {
	return os.NewSyscallError("fdatasync", unix.Fdatasync(int(f.Fd())))
}

// stepBack sleeps as briefly as the kernel can: some 50 µs, its timers' slack.
func stepBack() { _ = unix.Nanosleep(&unix.Timespec{Nsec: 1}, nil) }

// blockedOn is how many processes wait for the file's flock. The kernel lists
// them after the holder, with an arrow.
func blockedOn(f *os.File) (int, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil {
		return 0, os.NewSyscallError("fstat", err)
	}
	inode := fmt.Sprintf(":%d ", st.Ino)
	locks, err := os.Open("/proc/locks")
	if err != nil {
		return 0, err
	}
	defer func() { _ = locks.Close() }()
	n := 0
	for s := bufio.NewScanner(locks); s.Scan(); {
		if strings.Contains(s.Text(), "-> FLOCK") && strings.Contains(s.Text(), inode) {
			n++
		}
	}
	return n, nil
}

// fileSystems are the disks on which figures mean something. Others are known to
// be memory, or unknown.
var fileSystems = map[uint32]string{
	unix.EXT4_SUPER_MAGIC:      "ext4",
	unix.XFS_SUPER_MAGIC:       "xfs",
	unix.BTRFS_SUPER_MAGIC:     "btrfs",
	unix.F2FS_SUPER_MAGIC:      "f2fs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlayfs",
	0x2fc12fc1:                 "zfs",
}

// fileSystem is the kind of a directory's file system; "": no disk.
func fileSystem(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return ""
	}
	return fileSystems[uint32(st.Type)]
}
