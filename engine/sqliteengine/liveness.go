package sqliteengine

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"math"
	"os"
)

// A session's file says in its lock whether its process lives, and in its first
// bytes until when the session does.
//
// Why nobody believes in a session that somebody else ended. A checker takes the
// time n BEFORE it reads the deadline d, and calls the session dead only if
// n >= d. A renewal writes the new deadline first and takes the time AFTER: if
// that is not before the old deadline, it does not count, and the session ends
// itself. Now if a checker saw the old d with n >= d, its read came before the
// write, and n before the read; so the renewal's own look at the clock, after
// the write, finds a time >= n >= d, and it fails. Either the checker or the
// renewal has it, never both; dead is final. (Beside this the core's rule holds,
// that a reply after the window's end renews nothing.) The row decides what
// remains: whoever finds a session dead deletes its row in the transaction that
// lets the next in, and a renewal counts only if it then still finds the row.

// deadline is what a session's file holds: a time of the clock, and the same
// inverted, so that one read half-way through a write is known for what it is.
const deadlineSize = 16

func encodeDeadline(d int64) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(d))
	return binary.LittleEndian.AppendUint64(b, ^uint64(d))
}

func decodeDeadline(b []byte) (d int64, ok bool) {
	if len(b) != deadlineSize {
		return 0, false
	}
	u := binary.LittleEndian.Uint64(b)
	return int64(u), u <= math.MaxInt64 && binary.LittleEndian.Uint64(b[8:]) == ^u
}

// isAlive looks at a session's file. Where it cannot look (no descriptors left,
// another user's file) the session counts as alive: to wait is always safe.
func (e *Engine) isAlive(session int64) bool {
	path := e.dir.session(session)
	// A torn deadline is read again at once; a second one in a row is left to
	// the next look.
	for range 2 {
		now := e.clock.mono()
		var buf [deadlineSize]byte
		locked, n, err := peek(path, buf[:])
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return false
		case err != nil:
			e.log.Warn("lockstep: cannot see whether a session lives", "file", path, "error", err)
			return true
		case !locked:
			return false
		}
		if d, ok := decodeDeadline(buf[:n]); ok {
			return now < d
		}
	}
	return true
}

// newLockedFile makes a file that says by its lock that this process lives. It
// is locked and filled before anybody can know of it, and looked at again: a
// sweeper may have removed it between its making and its lock.
func (d dir) newLockedFile(path string, content []byte) (*os.File, error) {
	f, err := d.openFile(path, os.O_EXCL)
	if err != nil {
		return nil, err
	}
	locked, err := tryLock(f, true)
	if err == nil && locked {
		_, err = f.WriteAt(content, 0)
	}
	if err == nil && locked && stillThere(f, path) {
		return f, nil
	}
	if err == nil {
		err = errSwept
	}
	return nil, errors.Join(err, f.Close(), ignoreMissing(os.Remove(path)))
}

var errSwept = errors.New("the file was swept away while it was made")

func stillThere(f *os.File, path string) bool {
	mine, err := f.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(path)
	return err == nil && os.SameFile(mine, there)
}

func ignoreMissing(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// sweepFile removes a file under its lock: whoever makes such a file locks it,
// and gives it up if it cannot.
func sweepFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return ignoreMissing(err)
	}
	free, err := tryLock(f, true)
	if err == nil && free {
		err = ignoreMissing(os.Remove(path))
	}
	return errors.Join(err, f.Close())
}
