package sqliteengine

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/lockstep-go/lockstep/engine"
)

// dir is the engine's directory, absolute and without symbolic links. Nobody
// but its user may write in it: what is in it is believed.
type dir string

func (d dir) String() string    { return string(d) }
func (d dir) gate() string      { return filepath.Join(string(d), "gate") }
func (d dir) storeGate() string { return filepath.Join(string(d), "gate-store") }
func (d dir) openLock() string  { return filepath.Join(string(d), "open") }
func (d dir) sessions() string  { return filepath.Join(string(d), "sessions") }
func (d dir) bells() string     { return filepath.Join(string(d), "bells") }

// These are asked for in every hand-off; filepath.Join takes as long as a read.
func (d dir) session(id int64) string { return string(d) + sessionsPrefix + fileName(id) }
func (d dir) bell(id int64) string    { return string(d) + bellsPrefix + fileName(id) }

const (
	sessionsPrefix = string(filepath.Separator) + "sessions" + string(filepath.Separator)
	bellsPrefix    = string(filepath.Separator) + "bells" + string(filepath.Separator)
)

// fileName and parseFileName are one another's inverse: 16 digits, base 16.
func fileName(id int64) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(id))
	return hex.EncodeToString(b[:])
}

func parseFileName(name string) (id int64, ok bool) {
	if len(name) != 16 {
		return 0, false
	}
	u, err := strconv.ParseUint(name, 16, 64)
	return int64(u), err == nil && u > 0 && int64(u) > 0 && fileName(int64(u)) == name
}

// makeDir finds or makes the directory and what it needs beside the database.
func makeDir(path string) (dir, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w", engine.ErrInvalid, path, err)
	}
	if err := makeDurably(abs); err != nil {
		return "", unusableDir(abs, err)
	}
	// One directory has one name: watches are told by path (bell.go).
	whole, err := filepath.EvalSymlinks(abs)
	if err != nil {
		return "", unusableDir(abs, err)
	}
	d := dir(whole)
	if err := d.check(); err != nil {
		return "", err
	}
	for _, sub := range []string{d.sessions(), d.bells()} {
		if err := os.Mkdir(sub, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", unusableDir(abs, err)
		}
	}
	return d, nil
}

// makeDurably is MkdirAll, and whatever it made is still there after a power
// cut: what users store is durable, so its directory must be.
func makeDurably(path string) error {
	if _, err := os.Stat(path); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	parent := filepath.Dir(path)
	if err := makeDurably(parent); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

// check refuses a directory that others may write in, that is something else's,
// or whose file system does not carry locks faithfully.
func (d dir) check() error {
	info, err := os.Stat(d.String())
	if err != nil {
		return unusableDir(d.String(), err)
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %s is not a directory; the engine wants one of its own", engine.ErrInvalid, d)
	}
	if why := shared(info); why != "" {
		return fmt.Errorf("%w: %s %s", engine.ErrUnusable, d, why)
	}
	if err := checkFileSystem(d.String()); err != nil {
		return err
	}
	if d.store().isThere() {
		return nil
	}
	entries, err := os.ReadDir(d.String())
	if err != nil {
		return unusableDir(d.String(), err)
	}
	for _, e := range entries {
		if !isOurs(e.Name()) { // what is ours is there while somebody opens it for the first time
			return fmt.Errorf("%w: %s is in use for something else (%s is in it); the engine wants a directory of its own",
				engine.ErrInvalid, d, e.Name())
		}
	}
	return nil
}

// isOurs says whether the engine has a file of this name in its directory.
func isOurs(name string) bool {
	for _, db := range []string{storeName, linesName} {
		if rest, found := strings.CutPrefix(name, db); found && slices.Contains([]string{"", "-wal", "-shm", "-journal"}, rest) {
			return true
		}
	}
	return slices.Contains([]string{"gate", "gate-store", "open", "sessions", "bells"}, name)
}

// unusableDir says what is wrong with a directory and what would be right.
func unusableDir(path string, err error) error {
	switch {
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%w: %s is not a directory; the engine wants one of its own (%w)", engine.ErrInvalid, path, err)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %s cannot be written by this user (%w)", engine.ErrUnusable, path, err)
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: %s: the disk is full; free some space (%w)", engine.ErrUnusable, path, err)
	}
	return fmt.Errorf("%w: %s: %w", engine.ErrUnusable, path, err)
}

// explainFile is explain for an error about one of the engine's files.
func (d dir) explainFile(err error) error {
	for _, hopeless := range []error{fs.ErrPermission, syscall.EROFS, syscall.ENOSPC, syscall.EDQUOT} {
		if errors.Is(err, hopeless) {
			return unusableDir(d.String(), err)
		}
	}
	return err
}

// openFile opens one of the engine's own small files, making it if need be.
func (d dir) openFile(path string, flags int) (*os.File, error) {
	return os.OpenFile(path, os.O_RDWR|os.O_CREATE|flags, 0o600)
}
