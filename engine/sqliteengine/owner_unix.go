//go:build unix

package sqliteengine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// shared says why a directory is not this user's alone; "": it is. Whoever can
// write in it can have this process write elsewhere, so root too wants its own.
func shared(dir fs.FileInfo) string {
	if dir.Mode().Perm()&0o022 != 0 {
		return fmt.Sprintf("may be written by others (%v); chmod 700 it", dir.Mode().Perm())
	}
	if st, ok := dir.Sys().(*syscall.Stat_t); ok && int(st.Uid) != os.Geteuid() {
		return fmt.Sprintf("belongs to user %d, and this is user %d; a directory serves the processes of one user", st.Uid, os.Geteuid())
	}
	return ""
}

// syncDir makes the names in a directory durable.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
