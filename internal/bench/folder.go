package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// folder is a new folder of this name, on the disk.
func (b *bench) folder(name string) (string, error) { return os.MkdirTemp(b.dir, name+"-") }

// file is a new file in a folder of its own.
func (b *bench) file(name string) (*os.File, error) {
	dir, err := b.folder(name)
	if err != nil {
		return nil, err
	}
	return os.OpenFile(filepath.Join(dir, name), os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
}

// onDisk makes a temporary folder on a disk: memory would make fdatasync free.
func onDisk(dir string) (folder, kind string, err error) {
	places := []string{os.TempDir(), "/var/tmp", "."}
	if dir != "" {
		places = []string{dir}
	}
	for _, place := range places {
		if kind := fileSystem(place); kind != "" {
			folder, err := os.MkdirTemp(place, "lockstep-bench-")
			return folder, kind, err
		}
	}
	return "", "", fmt.Errorf("no folder on a disk (ext4, xfs, …): name one with -dir: %w", errors.ErrUnsupported)
}
