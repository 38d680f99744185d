//go:build !linux

package sqliteengine

import (
	"os"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// newBell is a file of some bytes: who writes into it rings. Files are watched on
// every system.
func (d dir) newBell(id int64) (*os.File, error) {
	return d.newLockedFile(d.bell(id), make([]byte, 1))
}

type rope struct{ file *os.File }

func openRope(bell string) (rope, error) {
	f, err := os.OpenFile(bell, os.O_WRONLY, 0)
	return rope{f}, err
}

func (r rope) pull() error {
	_, err := r.file.WriteAt(make([]byte, 1), 0)
	return err
}

func (r rope) letGo() { _ = r.file.Close() } // nothing was left to be written

// ears listens to the bells of all engines of this process: a user may have only
// so many watchers of files (128 on many systems), so a process takes one.
var ears struct {
	sync.Mutex
	watcher *fsnotify.Watcher
	bells   map[string]func()
	heard   chan struct{} // closed when the watcher's loop has ended
}

// listen tells w whenever its bell rings, until stop. All engines are told by one
// goroutine, which must not be kept waiting.
func listen(f *os.File, w *waitRoom) (stop func(), err error) {
	bell := f.Name()
	ears.Lock()
	defer ears.Unlock()
	if ears.watcher == nil {
		files, err := fsnotify.NewWatcher()
		if err != nil {
			return nil, err
		}
		ears.watcher, ears.bells, ears.heard = files, make(map[string]func()), make(chan struct{})
		go hear(files, ears.heard)
	}
	ears.bells[bell] = w.ringHere
	if err := ears.watcher.Add(bell); err != nil {
		unlisten(bell)
		return nil, err
	}
	return func() {
		ears.Lock()
		_ = ears.watcher.Remove(bell) // may be gone with its file
		heard := unlisten(bell)
		ears.Unlock()
		<-heard
	}, nil
}

// alreadyHeard is what there is to wait for while other bells are listened to.
var alreadyHeard = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// unlisten forgets a bell, and with the last one the watcher. The caller waits
// for its loop without ears' lock, which the loop takes.
func unlisten(bell string) (heard <-chan struct{}) {
	delete(ears.bells, bell)
	if len(ears.bells) > 0 {
		return alreadyHeard
	}
	_ = ears.watcher.Close()
	ears.watcher = nil
	return ears.heard
}

func hear(w *fsnotify.Watcher, heard chan<- struct{}) {
	defer close(heard)
	events, errs := w.Events, w.Errors
	for events != nil || errs != nil {
		select {
		case event, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			ears.Lock()
			rung := ears.bells[event.Name]
			ears.Unlock()
			if rung != nil {
				rung()
			}
		case _, ok := <-errs:
			if !ok {
				errs = nil
				continue
			}
			ringAll() // events were lost
		}
	}
}

func ringAll() {
	ears.Lock()
	defer ears.Unlock()
	for _, rung := range ears.bells {
		rung()
	}
}
