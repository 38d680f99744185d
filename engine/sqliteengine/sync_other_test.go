//go:build !linux

package sqliteengine

import "os"

func datasync(f *os.File) error { return f.Sync() }
