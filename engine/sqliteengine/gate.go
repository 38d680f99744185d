package sqliteengine

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// gate is a lock file taken before every BEGIN IMMEDIATE. SQLite's own way of
// waiting for a writer backs off to 100 ms and starves some for over a second;
// here whoever leaves wakes the next, and newcomers step back for it (queue).
//
// A blocking flock would wake as well, and is not used: it can be neither
// cancelled nor given up, so that one process stopped inside the gate would keep
// every other from closing its engine. Renewals do not pass the gate at all.
type gate struct {
	file  *os.File
	queue *queue
	log   *slog.Logger
}

const (
	gateNap  = time.Millisecond      // between two looks, at most: whoever was inside may have died
	gateDoze = 10 * time.Millisecond // the same, when it takes longer than gateLate
	gateLate = 100 * time.Millisecond
	gateWarn = 2 * time.Second
)

// errStopped: the engine was closed while its writer waited.
var errStopped = errors.New("stopped")

func openGate(f *os.File, log *slog.Logger) (gate, error) {
	q, err := openQueue(f)
	return gate{file: f, queue: q, log: log}, err
}

func (g *gate) close() error { return errors.Join(g.queue.close(), g.file.Close()) }

// enter waits for the gate until stop is closed.
func (g *gate) enter(stop <-chan struct{}) error {
	if ok, err := g.try(); ok || err != nil {
		return err
	}
	g.queue.join()
	defer g.queue.part()
	began, warned := time.Now(), false
	for slept := false; ; slept = true {
		ticket := g.queue.ticket()
		if slept || !g.queue.forWoken() {
			if ok, err := g.lock(); ok || err != nil {
				return err
			}
		}
		waited := time.Since(began)
		if waited > gateWarn && !warned {
			warned = true
			g.log.Warn("lockstep: waiting to write for 2 s", "directory", g.file.Name(), "holder", g.holder())
		}
		select {
		case <-stop:
			return errStopped
		default:
			g.queue.sleep(ticket, gatePause(waited))
		}
	}
}

func gatePause(waited time.Duration) time.Duration {
	if waited > gateLate {
		return gateDoze
	}
	return gateNap
}

// try enters the gate if nobody is inside, or has just been told to go in.
func (g *gate) try() (bool, error) {
	if g.queue.forWoken() {
		return false, nil
	}
	return g.lock()
}

func (g *gate) lock() (bool, error) {
	ok, err := tryLock(g.file, true)
	if !ok || err != nil {
		return false, err
	}
	g.queue.entered()
	return true, sign(g.file)
}

func (g *gate) leave() error {
	waitedFor := g.queue.leaving()
	err := unlock(g.file)
	if waitedFor {
		g.queue.leave()
	}
	return err
}

// holder describes the process inside: its id and what it is doing.
func (g *gate) holder() string {
	inside, ok := insideOf(g.file)
	if !ok {
		return "an unknown process"
	}
	return fmt.Sprintf("process %d (%s)", inside, processState(inside))
}
