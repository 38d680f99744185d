package sqliteengine

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Here a bell is a named pipe: a byte in it rings, and whoever listens is woken by
// Go's own poller. A watched file (inotify) would need a watcher, of which a user
// has 128, and two more goroutines on the way.

// newBell opens both ends: a pipe without a reader could not be written to.
func (d dir) newBell(id int64) (*os.File, error) {
	path := d.bell(id)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, &os.PathError{Op: "mkfifo", Path: path, Err: err}
	}
	fd, err := openPipe(path)
	if err != nil {
		return nil, errors.Join(err, ignoreMissing(os.Remove(path)))
	}
	// The lock comes first: to ask os.File for its descriptor takes it from the poller.
	locked, err := tryFlock(fd, unix.LOCK_EX)
	f := os.NewFile(uintptr(fd), path)
	if err == nil && locked && stillThere(f, path) {
		return f, nil
	}
	if err == nil {
		err = errSwept
	}
	return nil, errors.Join(err, f.Close(), ignoreMissing(os.Remove(path)))
}

func openPipe(path string) (fd int, err error) {
	fd, err = unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return fd, nil
}

// listen tells w whenever its bell rings, until stop.
func listen(bell *os.File, w *waitRoom) (stop func(), err error) {
	if err := bell.SetReadDeadline(time.Time{}); err != nil {
		return nil, err
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		hear(bell, w.ring)
	}()
	return func() {
		_ = bell.SetReadDeadline(time.Now()) // it worked before
		<-heard
	}, nil
}

// hear takes at once what is in the pipe: however often a bell rang, there is one
// thing to do.
func hear(bell *os.File, rung func()) {
	var rings [512]byte
	for {
		if _, err := bell.Read(rings[:]); err != nil {
			return
		}
		rung()
	}
}

// A rope is the pipe, open at both ends: it must not break (SIGPIPE) when whoever
// listened is gone.
type rope int

func openRope(bell string) (rope, error) {
	fd, err := openPipe(bell)
	return rope(fd), err
}

// pull rings. A pipe that is full was not heard yet, and will be.
func (r rope) pull() error {
	_, err := unix.Write(int(r), []byte{1})
	if err == nil || errors.Is(err, unix.EAGAIN) {
		return nil
	}
	return os.NewSyscallError("write", err)
}

func (r rope) letGo() { _ = unix.Close(int(r)) }
