package main

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// mount makes a small file system at dir.
func mount(t *testing.T, dir string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		if os.Getenv("LOCKSTEP_REQUIRE") != "" {
			t.Fatalf("a small file system is needed: %v", err)
		}
		t.Skipf("needs the right to mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
}
