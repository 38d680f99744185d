//go:build unix

package tty

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// Foreground lends the terminal's foreground to another process group and takes it
// back. A group that is not in the foreground is stopped at its first read.
//
// A nil *Foreground is a process without a terminal: nothing is lent.
type Foreground struct {
	tty   *os.File
	own   int
	modes *term.State
	lent  bool
}

// NewForeground is the controlling terminal, or nil. It is opened by its name:
// standard input may be a file while the child asks for a password on the terminal.
func NewForeground() *Foreground {
	f, err := os.OpenFile("/dev/tty", os.O_RDWR, 0)
	if err != nil {
		return nil
	}
	return &Foreground{tty: f, own: unix.Getpgrp()}
}

// Lend puts the group in front if this process's own group is; it reports whether
// the group is in front now.
func (f *Foreground) Lend(pgid int) bool {
	if f == nil {
		return false
	}
	front, err := unix.IoctlGetInt(f.fd(), unix.TIOCGPGRP)
	if err != nil {
		return false
	}
	if front != f.own {
		return f.lent && front == pgid
	}
	f.modes, _ = term.GetState(f.fd())
	if unix.IoctlSetPointerInt(f.fd(), unix.TIOCSPGRP, pgid) != nil {
		return false
	}
	// From here on this process is in the background, where taking the terminal
	// back or writing to it may stop it. Ignored rather than caught: the kernel
	// restarts what was caught, for ever. It comes after the guardian was
	// started, since being ignored is inherited.
	signal.Ignore(unix.SIGTTOU)
	f.lent = true
	return true
}

// Lent reports whether the terminal was lent and not taken back.
func (f *Foreground) Lent() bool { return f != nil && f.lent }

// TakeBack puts this process's group in front again, if it lent the terminal. As a
// shell does, it restores the terminal's modes where the child was ended by a
// signal and had no chance to.
func (f *Foreground) TakeBack(modes bool) {
	if !f.Lent() {
		return
	}
	f.lent = false
	_ = unix.IoctlSetPointerInt(f.fd(), unix.TIOCSPGRP, f.own) // a terminal that hung up is no loss
	if modes && f.modes != nil {
		_ = term.Restore(f.fd(), f.modes)
	}
}

// Close forgets the terminal; what was lent is taken back before.
func (f *Foreground) Close() {
	if f != nil {
		_ = f.tty.Close()
	}
}

func (f *Foreground) fd() int { return int(f.tty.Fd()) }
