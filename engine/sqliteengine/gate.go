package sqliteengine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// gate is a lock file taken before every BEGIN IMMEDIATE. SQLite's own way of
// waiting for a writer backs off to 100 ms and starves some for over a second;
// here nobody naps for more than gateNap while writers are about.
//
// A blocking flock would be a fairer queue, and is not used: it can be neither
// cancelled nor given up, so that one process stopped inside the gate would keep
// every other from closing its engine. Renewals do not pass the gate at all.
type gate struct {
	file *os.File
	log  *slog.Logger
}

const (
	gateNap  = time.Millisecond      // between two looks, at most
	gateDoze = 10 * time.Millisecond // the same, when it takes longer than gateLate
	gateLate = 100 * time.Millisecond
	gateWarn = 2 * time.Second
)

// errStopped: the engine was closed while its writer waited.
var errStopped = errors.New("stopped")

// enter waits for the gate until stop is closed.
func (g *gate) enter(stop <-chan struct{}) error {
	began, nap, warned := time.Now(), 10*time.Microsecond, false
	for {
		if ok, err := g.try(); ok || err != nil {
			return err
		}
		waited := time.Since(began)
		if waited > gateWarn && !warned {
			warned = true
			g.log.Warn("lockstep: waiting to write for 2 s", "directory", g.file.Name(), "holder", g.holder())
		}
		if nap = min(2*nap, gateNap); waited > gateLate {
			nap = gateDoze
		}
		select {
		case <-stop:
			return errStopped
		default:
			nanosleep(nap)
		}
	}
}

// try enters the gate if nobody is inside.
func (g *gate) try() (bool, error) {
	ok, err := tryLock(g.file, true)
	if !ok || err != nil {
		return false, err
	}
	return true, g.sign()
}

func (g *gate) leave() error { return unlock(g.file) }

var pid = uint64(os.Getpid())

// sign writes who is inside, for those who wait too long.
func (g *gate) sign() error {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], pid)
	_, err := g.file.WriteAt(b[:], 0)
	return err
}

// holder describes the process inside: its id and what it is doing.
func (g *gate) holder() string {
	var b [8]byte
	if n, _ := g.file.ReadAt(b[:], 0); n < len(b) {
		return "an unknown process"
	}
	inside := int64(binary.LittleEndian.Uint64(b[:]))
	return fmt.Sprintf("process %d (%s)", inside, processState(inside))
}
