package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/need"
)

func TestAFullDiskIsOneLineAnd69AndLosesNothing(t *testing.T) {
	w := newWorld(t)
	small := w.path("small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	mount(t, small)
	w.url = "file://" + filepath.Join(small, "engine")
	w.expect(0, "put", "v", "kept")
	fill := filepath.Join(small, "fill")
	chunk := make([]byte, 4096)
	f, err := os.Create(fill)
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := f.Write(chunk); err != nil {
			break // it is full
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	w.unusable("full", "put", "v", strings.Repeat("x", 100_000))
	w.unusable("full", "lock", "n", "--", "true")
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	if out, _ := w.expect(0, "get", "v"); out != "kept\n" {
		t.Errorf("got %q", out)
	}
	w.expect(0, "lock", "n", "--", "true")
}

// mount makes a small file system at dir.
func mount(t *testing.T, dir string) {
	t.Helper()
	need.That(t, "the right to mount a small tmpfs, which root has", unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
