//go:build unix

package sqliteengine

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
)

// What a system has whose files have owners and modes, and can be removed while they
// are open.

func TestOpenRefusesADirectoryThatOthersWriteIn(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, engine.ErrUnusable, "chmod 700")
}

func TestOpenRefusesADirectoryOfAnotherUser(t *testing.T) {
	dir, user := "/", "0"
	if os.Geteuid() == 0 {
		dir, user = t.TempDir(), "65534"
		if err := os.Chown(dir, 65534, 65534); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, dir, engine.ErrUnusable, "belongs to user "+user)
}

func TestDirectoryAndFilesArePrivate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	e := open(t, dir)
	acquire(t, begin(t, e, long), mutex("n"))
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %v", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestRemovedLinesAreRefusedWhileSomebodyIsHere(t *testing.T) {
	path := t.TempDir()
	e := open(t, path)
	if err := e.dir.lines().remove(); err != nil {
		t.Fatal(err)
	}
	refused(t, path, engine.ErrUnusable, "removed or replaced")
}

func TestRemovedStoreIsRefusedWhileSomebodyIsHere(t *testing.T) {
	path := t.TempDir()
	e := open(t, path)
	if err := e.dir.store().remove(); err != nil {
		t.Fatal(err)
	}
	refused(t, path, engine.ErrUnusable, "was removed")
}
