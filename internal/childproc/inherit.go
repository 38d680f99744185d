package childproc

import (
	"os"
	"os/signal"
	"syscall"
)

// InheritNothingIgnored gives what this process starts HUP and INT as they are by
// default, also where whoever started this process had them ignored: nohup, and a
// script for its jobs in the background. What is caught here is not ignored there.
func InheritNothingIgnored() {
	dropped := make(chan os.Signal, 1) // never read: signal.Notify drops what does not fit
	for _, s := range []os.Signal{syscall.SIGHUP, syscall.SIGINT} {
		if signal.Ignored(s) {
			signal.Notify(dropped, s)
		}
	}
}
