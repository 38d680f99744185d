package sqliteengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/need"
)

// mount is a tmpfs for the test; only root can have one.
func mount(t *testing.T, options string) string {
	t.Helper()
	dir := t.TempDir()
	need.That(t, "the right to mount a small tmpfs, which root has", unix.Mount("tmpfs", dir, "tmpfs", 0, options))
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func TestFullDiskIsSaidAndNothingIsLost(t *testing.T) {
	dir := mount(t, "size=2m,mode=700")
	e := open(t, dir)
	s := begin(t, e, long)
	held := mutex("held")
	acquire(t, s, held)
	var last engine.Revision
	value := make([]byte, 64<<10)
	for i := 0; ; i++ {
		r, err := e.Store().Commit(guarded(t), "m", engine.Tx{Put: []engine.Entry{{Key: fmt.Sprint(i), Value: value}}})
		if err != nil {
			mustBe(t, err, engine.ErrUnusable)
			if !strings.Contains(err.Error(), "full") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is not clear: %v", err)
			}
			break
		}
		last = r
	}
	if event, err := e.Store().List(guarded(t), "m"); err != nil || event.Revision != last {
		t.Errorf("the map is at %d, %v; %d was answered", event.Revision, err, last)
	}
	granted := fillLines(t, s)
	// Renewal needs no room, so what is held stays held.
	if r, err := s.Renew(guarded(t), []*engine.Claim{held}); err != nil || len(r.Lost) > 0 {
		t.Errorf("renew on a full disk: %+v, %v", r, err)
	}
	if _, err := Open(guarded(t), dir); err != nil && !errors.Is(err, engine.ErrUnusable) {
		t.Errorf("open on a full disk: %v", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Store().Commit(guarded(t), "m", engine.Tx{Put: []engine.Entry{{Key: "after", Value: value}}}); err != nil {
		t.Errorf("with room again: %v", err)
	}
	release(t, s, held)
	if names := len(claimed(t, e)); names != granted {
		t.Errorf("%d names are claimed, %d were granted", names, granted)
	}
}

// fillLines acquires until lines.db has no more room either.
func fillLines(t *testing.T, s *Session) (granted int) {
	t.Helper()
	for i := 0; ; i++ {
		c := mutex(fmt.Sprint("n", i))
		c.Note = make([]byte, 4<<10)
		_, err := s.Acquire(guarded(t), c, false)
		if err != nil {
			mustBe(t, err, engine.ErrUnusable)
			if !strings.Contains(err.Error(), "full") || strings.Contains(err.Error(), "\n") {
				t.Errorf("the error is not clear: %v", err)
			}
			return i
		}
	}
}

func TestOpenRefusesAFullDisk(t *testing.T) {
	dir := mount(t, "size=16k,mode=700")
	refused(t, dir, engine.ErrUnusable, "full")
}

func TestOpenRefusesAReadOnlyFileSystem(t *testing.T) {
	dir := mount(t, "size=8m,mode=700")
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, engine.ErrUnusable, "cannot be written")
}

// Root may write everywhere, so the test opens as somebody else: on a thread that
// has another user's permissions, and ends with the goroutine.
func TestOpenRefusesADirectoryWithoutPermission(t *testing.T) {
	const nobody = 65534
	dir, err := os.MkdirTemp("", "readonly") //nolint:usetesting // whose directories are closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() != 0 {
		refused(t, dir, engine.ErrUnusable, "cannot be written")
		return
	}
	failed := make(chan error)
	go func() {
		runtime.LockOSThread()
		if err := unix.Setfsuid(nobody); err != nil {
			failed <- err
			return
		}
		_, err := Open(context.WithoutCancel(t.Context()), dir)
		failed <- err
	}()
	if err := <-failed; !errors.Is(err, engine.ErrUnusable) || !strings.Contains(err.Error(), "cannot be written by this user") {
		t.Errorf("%v", err)
	}
}

func TestFileSystemsAreRefusedByKind(t *testing.T) {
	for magic, name := range map[uint32]string{
		unix.NFS_SUPER_MAGIC: "NFS", unix.CIFS_SUPER_MAGIC: "SMB", unix.V9FS_MAGIC: "9p", unix.FUSE_SUPER_MAGIC: "FUSE", 0x12345: "0x12345",
	} {
		err := checkMagic("/dir", magic)
		if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "local file system") {
			t.Errorf("%#x: %v", magic, err)
		}
	}
	if err := checkMagic("/dir", unix.EXT4_SUPER_MAGIC); err != nil {
		t.Error(err)
	}
}

func TestDescriptorsAreNotInherited(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	s := begin(t, e, long)
	acquire(t, s, mutex("n"))
	_ = enqueue(t, s, mutex("n"))
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		target, err := os.Readlink("/proc/self/fd/" + fd.Name())
		if err != nil || !strings.HasPrefix(target, dir) {
			continue
		}
		var n int
		_, _ = fmt.Sscan(fd.Name(), &n)
		flags, err := unix.FcntlInt(uintptr(n), syscall.F_GETFD, 0)
		if err != nil || flags&syscall.FD_CLOEXEC == 0 {
			t.Errorf("%s is inherited by children (%v)", target, err)
		}
	}
	_ = s.End(context.WithoutCancel(t.Context()), nil)
}
