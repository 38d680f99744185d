//go:build unix

package sqliteengine

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// flock(2) belongs to the open file description: a duplicate keeps it, another
// open of the same file in the same process is a stranger to it, and the kernel
// drops it with the last descriptor, however the process ended.

// tryLock takes the file's lock if nobody is in the way, and never waits.
func tryLock(f *os.File, exclusive bool) (bool, error) {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	return tryFlock(int(f.Fd()), how)
}

func tryFlock(fd, how int) (bool, error) {
	for {
		err := unix.Flock(fd, how|unix.LOCK_NB)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return false, nil
		case !errors.Is(err, unix.EINTR):
			return false, os.NewSyscallError("flock", err)
		}
	}
}

func unlock(f *os.File) error {
	return os.NewSyscallError("flock", unix.Flock(int(f.Fd()), unix.LOCK_UN))
}

// peek opens the file anew, says whether somebody has its lock, and reads its
// first bytes into buf. It asks for the lock shared, so that those who look at
// the same time do not see each other.
func peek(path string, buf []byte) (locked bool, n int, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return false, 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	free, err := tryFlock(fd, unix.LOCK_SH)
	if err != nil || free {
		return false, 0, err
	}
	n, err = unix.Pread(fd, buf, 0)
	if err != nil {
		return true, 0, &os.PathError{Op: "read", Path: path, Err: err}
	}
	return true, n, nil
}

// duplicate is a second descriptor of the same open file description, and so of
// the same lock.
func duplicate(f *os.File) (*os.File, error) {
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fd), f.Name()), nil
}
