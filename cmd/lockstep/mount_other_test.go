//go:build unix && !linux

package main

import "testing"

func mount(t *testing.T, _ string) {
	t.Helper()
	t.Skip("needs a small file system, which takes Linux's tmpfs")
}
