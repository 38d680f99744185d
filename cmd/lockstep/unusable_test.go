//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// An engine that cannot be used is one clear line and 69, and loses nothing.

func (w *world) unusable(word string, args ...string) {
	w.t.Helper()
	if _, err := w.expect(69, args...); !oneLine(err) || !strings.Contains(err, word) {
		w.t.Errorf("lockstep %q said %q, which misses %q", args, err, word)
	}
}

func TestADirectoryThatCannotBeWrittenIsOneLineAnd69(t *testing.T) {
	w := newWorld(t)
	engine := w.path("engine")
	if err := os.Mkdir(engine, 0o500); err != nil {
		t.Fatal(err)
	}
	if os.Getuid() != 0 {
		w.unusable("cannot be written", "lock", "n", "--", "true")
		return
	}
	// Root writes everywhere: somebody else tries.
	const nobody = 65534
	if err := os.Chown(engine, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(engine); dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	p := w.startWith(func(cmd *exec.Cmd) {
		cmd.Dir = "/"
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}, "lock", "n", "--", "true")
	if p.wait() != 69 || !oneLine(p.err.String()) || !strings.Contains(p.err.String(), "cannot be written") {
		t.Errorf("ended with %d, said %q", p.code, p.err)
	}
}

var databases = []string{"engine/lockstep.db", "engine/lines.db"}

func TestACorruptDatabaseIsOneLineAnd69AndIsLeftAlone(t *testing.T) {
	for _, db := range databases {
		w := newWorld(t)
		w.expect(0, "put", "v", "1")
		broken := strings.Repeat("this is no database\n", 500)
		w.write(db, broken)
		for _, name := range []string{"-wal", "-shm"} {
			_ = os.Remove(w.path(db + name)) // there is none after a clean end
		}
		w.unusable("damaged", "lock", "n", "--", "true")
		w.unusable("damaged", "get", "v")
		if w.read(db) != broken {
			t.Errorf("%s was changed: somebody may want to repair it", db)
		}
	}
}

func TestANewerSchemaIsOneLineAnd69(t *testing.T) {
	for _, db := range databases {
		w := newWorld(t)
		w.expect(0, "put", "v", "1")
		// user_version is the four bytes at 60 of a database's first page.
		f, err := os.OpenFile(w.path(db), os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.WriteAt([]byte{0, 0, 0, 99}, 60); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		w.unusable("layout 99", "lock", "n", "--", "true")
	}
}
