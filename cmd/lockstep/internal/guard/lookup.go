//go:build unix

package guard

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// lookup finds a command as a shell does: a name with a slash is a path, any other
// is looked for in PATH. os/exec is not used because it refuses relative PATH
// entries and forgets that there was a file that cannot be executed.
func lookup(name string) (string, error) {
	if name == "" {
		return "", fs.ErrNotExist
	}
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	err := fs.ErrNotExist
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if dir == "" {
			dir = "."
		}
		path := dir + "/" + name
		found := executable(path)
		if found == nil {
			return path, nil
		}
		if !errors.Is(found, fs.ErrNotExist) && !errors.Is(found, unix.ENOTDIR) {
			err = found
		}
	}
	return "", err
}

func executable(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return syscall.EISDIR
	}
	return unix.Access(path, unix.X_OK)
}

// refusal is what a shell answers to a command that it cannot start: 127 where
// there is none, 126 where it cannot be executed.
func refusal(name string, err error) report {
	r := report{Event: evFailed, Code: 126}
	why := err
	if pe := (*fs.PathError)(nil); errors.As(err, &pe) {
		why = pe.Err
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.Contains(name, "/"):
		r.Code, r.Error = 127, name+": command not found"
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		r.Code, r.Error = 127, name+": no such file"
	default:
		r.Error = name + ": " + why.Error()
	}
	return r
}
