package sqliteengine

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// A bell is a file of an open engine. Whoever lets one of its waiters in writes
// into it after the commit, and the kernel tells. One bell for the directory
// would wake every waiter. An event on the database's log would come before
// what it tells of can be read.

// ring rings bells after a commit. One that is not heard, or not there, is no
// error: its engine looks by itself, if it lives (wait.go).
func (e *Engine) ring(bells map[int64]struct{}) {
	if len(bells) == 0 {
		return
	}
	var now [8]byte
	binary.LittleEndian.PutUint64(now[:], uint64(e.clock.mono()))
	for bell := range bells {
		if bell == e.bell {
			e.wait.ring()
			continue
		}
		if err := e.ropes.pull(bell, now[:]); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.log.Warn("lockstep: cannot wake a waiter; it will look by itself", "error", err)
		}
	}
}

// ropes are the bells that were rung lately, open: to open one takes longer than
// to ring it. A bell whose engine has closed can be rung on, and nobody hears.
type ropes struct {
	dir  dir
	mu   sync.Mutex
	open map[int64]*os.File
}

// maxRopes bounds the descriptors; where more bells are rung, all are let go.
const maxRopes = 32

func (r *ropes) pull(bell int64, b []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.open[bell]
	if f == nil {
		if len(r.open) >= maxRopes {
			r.closeAll()
		}
		var err error
		if f, err = os.OpenFile(r.dir.bell(bell), os.O_WRONLY, 0); err != nil {
			return err
		}
		r.open[bell] = f
	}
	_, err := f.WriteAt(b, 0)
	return err
}

func (r *ropes) letGo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeAll()
}

func (r *ropes) closeAll() {
	for bell, f := range r.open {
		_ = f.Close() // nothing was left to be written
		delete(r.open, bell)
	}
}

// ears listens to the bells of all engines of this process: a user may have only
// so many watchers of files (128 on many systems), so a process takes one.
var ears struct {
	sync.Mutex
	watcher *fsnotify.Watcher
	bells   map[string]func()
	heard   chan struct{} // closed when the watcher's loop has ended
}

// listen has rung called whenever the bell is, until stop. rung must not block.
func listen(bell string, rung func()) (stop func(), err error) {
	ears.Lock()
	defer ears.Unlock()
	if ears.watcher == nil {
		w, err := fsnotify.NewWatcher()
		if err != nil {
			return nil, err
		}
		ears.watcher, ears.bells, ears.heard = w, make(map[string]func()), make(chan struct{})
		go hear(w, ears.heard)
	}
	ears.bells[bell] = rung
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
