//go:build !linux

package main

import (
	"errors"
	"os"
)

// Elsewhere the program builds, and says that it measures on Linux only:
// fdatasync, and a view on who waits for a flock, are Linux's.

func monotonic() int64                { return 0 }
func lockFile(*os.File) error         { return errors.ErrUnsupported }
func unlockFile(*os.File) error       { return errors.ErrUnsupported }
func syncData(*os.File) error         { return errors.ErrUnsupported }
func stepBack()                       {}
func blockedOn(*os.File) (int, error) { return 0, errors.ErrUnsupported }
func fileSystem(string) string        { return "" }
