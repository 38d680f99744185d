//go:build !linux

package sqliteengine

import (
	"encoding/binary"
	"os"
)

var ownPID = uint64(os.Getpid())

// sign writes who is inside, for those who wait too long.
func sign(f *os.File) error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], ownPID)
	_, err := f.WriteAt(b[:], 0)
	return err
}

// insideOf is who signed last.
func insideOf(f *os.File) (pid int64, ok bool) {
	var b [8]byte
	if n, _ := f.ReadAt(b[:], 0); n < len(b) {
		return 0, false
	}
	return int64(binary.LittleEndian.Uint64(b[:])), true
}
