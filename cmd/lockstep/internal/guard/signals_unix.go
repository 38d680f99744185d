//go:build unix

package guard

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// Signals are those passed on to the child, from now on. What was ignored when the
// user started us (nohup) stays ignored, also by the child.
func Signals() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	for _, s := range []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
		if !signal.Ignored(s) {
			signal.Notify(c, s)
		}
	}
	return c
}
