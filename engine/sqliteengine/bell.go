package sqliteengine

import (
	"errors"
	"io/fs"
	"sync"
)

// A bell is a file of an open engine, locked while that is open. Whoever lets one
// of its waiters in rings it after the commit, and the kernel tells. One bell for
// the directory would wake every waiter. An event on the database's log would
// come before what it tells of can be read.
//
// What it is depends on the system: newBell, listen and openRope are there.

// ring rings bells after a commit. One that is not heard, or not there, is no
// error: its engine looks by itself, if it lives (wait.go).
func (e *Engine) ring(bells map[int64]struct{}) {
	for bell := range bells {
		if bell == e.bell {
			e.wait.ringHere()
			continue
		}
		if err := e.ropes.pull(bell); err != nil && !errors.Is(err, fs.ErrNotExist) {
			e.log.Warn("lockstep: cannot wake a waiter; it will look by itself", "error", err)
		}
	}
}

// ropes are the bells that were rung lately, open: to open one takes longer than
// to ring it. A bell whose engine has closed can be rung on, and nobody hears.
type ropes struct {
	dir  dir
	mu   sync.Mutex
	open map[int64]rope
}

// maxRopes bounds the descriptors; where more bells are rung, all are let go.
const maxRopes = 32

func (r *ropes) pull(bell int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	to, open := r.open[bell]
	if !open {
		if len(r.open) >= maxRopes {
			r.closeAll()
		}
		var err error
		if to, err = openRope(r.dir.bell(bell)); err != nil {
			return err
		}
		r.open[bell] = to
	}
	return to.pull()
}

func (r *ropes) letGo() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closeAll()
}

func (r *ropes) closeAll() {
	for bell, to := range r.open {
		to.letGo()
		delete(r.open, bell)
	}
}
