package sqliteengine

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/windows"

	"github.com/lockstep-go/lockstep/engine"
)

// A lock of Windows keeps others from reading the locked bytes, so it is put on
// one byte far behind the file's end.
const lockOffsetHigh = 1 << 30

func tryLock(f *os.File, exclusive bool) (bool, error) {
	flags := uint32(windows.LOCKFILE_FAIL_IMMEDIATELY)
	if exclusive {
		flags |= windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: lockOffsetHigh})
	switch {
	case err == nil:
		return true, nil
	case errors.Is(err, windows.ERROR_LOCK_VIOLATION), errors.Is(err, windows.ERROR_IO_PENDING):
		return false, nil
	}
	return false, os.NewSyscallError("LockFileEx", err)
}

func unlock(f *os.File) error {
	return os.NewSyscallError("UnlockFileEx",
		windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &windows.Overlapped{OffsetHigh: lockOffsetHigh}))
}

func peek(path string, buf []byte) (locked bool, n int, err error) {
	f, err := os.Open(path)
	if err != nil {
		return false, 0, err
	}
	defer func() { _ = f.Close() }()
	free, err := tryLock(f, false)
	if err != nil || free {
		return false, 0, err
	}
	n, err = f.ReadAt(buf, 0)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return true, n, err
}

// duplicate has no counterpart here: a lock of Windows belongs to the handle's
// process, and does not pass to another one with a duplicate.
func duplicate(*os.File) (*os.File, error) {
	return nil, fmt.Errorf("%w: on Windows a session ends with its process", engine.ErrUnsupported)
}
