//go:build unix

package sqliteengine

import (
	"io/fs"
	"os"
	"syscall"
)

func private(m fs.FileMode) bool { return m.Perm()&0o022 == 0 }

// giveToOwner gives a file that root made in a user's directory to the user,
// as SQLite does with its own: `sudo` must not lock the user out.
func giveToOwner(dir, path string) {
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat(dir)
	if err != nil {
		return
	}
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Uid != 0 {
		_ = os.Lchown(path, int(st.Uid), int(st.Gid))
	}
}
