package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/lockstep-go/lockstep"
)

// A hand-off is from the start of Release here to Lock returning in another
// process, which waited for it. Both contenders rest between two of them, as
// long as each other, so that the other process sleeps when its turn comes.

// handOffs is how many one sample holds.
const handOffs = 25

// giver is this process's side of a hand-off.
type giver interface {
	take() error           // has what the other one will wait for
	waited() (bool, error) // whether the other one waits
	give() error
	close() error
}

// relay is a sampler: a giver here and a waiter in another process.
type relay struct {
	n     int
	giver giver
	other *process
}

func relayContender(name, kind string, open func(dir string) (giver, error)) contender {
	return contender{name, func(b *bench) (sampler, error) {
		dir, err := b.folder(kind)
		if err != nil {
			return nil, err
		}
		g, err := open(dir)
		if err != nil {
			return nil, err
		}
		other, err := start("waiter", job{Dir: dir, Kind: kind})
		if err != nil {
			return nil, errors.Join(err, g.close())
		}
		return &relay{b.count(handOffs), g, other}, nil
	}}
}

func (r *relay) sample() (float64, error) {
	took := make([]float64, r.n)
	for i := range took {
		d, err := r.handOff()
		if err != nil {
			return 0, err
		}
		took[i] = micros(d)
	}
	return median(took), nil
}

func (r *relay) handOff() (time.Duration, error) {
	if err := r.giver.take(); err != nil {
		return 0, err
	}
	if err := r.other.order(order{Do: "wait"}); err != nil {
		return 0, err
	}
	for {
		waits, err := r.giver.waited()
		if err != nil {
			return 0, err
		}
		if waits {
			break
		}
		time.Sleep(100 * time.Microsecond)
	}
	time.Sleep(time.Millisecond + rand.N(time.Millisecond))
	began := monotonic()
	if err := r.giver.give(); err != nil {
		return 0, err
	}
	got, err := r.other.report()
	return time.Duration(got.At - began), err
}

func (r *relay) close() error { return errors.Join(r.other.close(), r.giver.close()) }

// The other process.

type waiterRole struct {
	wait func() (at int64, err error)
	end  func() error
}

func (w waiterRole) obey(order) (report, error) {
	at, err := w.wait()
	return report{At: at}, err
}
func (w waiterRole) close() error { return w.end() }

func newWaiterRole(j job) (worker, error) {
	switch j.Kind {
	case "lockstep":
		return newLockstepWaiter(j.Dir)
	case "bell":
		return newBellWaiter(j.Dir)
	case "flock":
		return newFlockWaiter(j.Dir)
	}
	return nil, fmt.Errorf("nobody waits for %q", j.Kind)
}

// Lockstep's two sides.

type lockstepGiver struct {
	*client

	mutex *lockstep.Mutex
	lease *lockstep.Lease
}

func newLockstepGiver(dir string) (giver, error) {
	c, err := fileClient(dir)
	if err != nil {
		return nil, err
	}
	return &lockstepGiver{client: c, mutex: c.Mutex(lockName)}, nil
}

func (g *lockstepGiver) take() (err error) {
	g.lease, err = g.mutex.Lock(context.Background())
	return err
}

func (g *lockstepGiver) waited() (bool, error) {
	line, err := g.Line(context.Background(), lockName)
	return len(line.Waiters) > 0, err
}

func (g *lockstepGiver) give() error { return g.lease.Release(context.Background()) }

func newLockstepWaiter(dir string) (worker, error) {
	c, err := fileClient(dir)
	if err != nil {
		return nil, err
	}
	mutex := c.Mutex(lockName)
	return waiterRole{func() (int64, error) {
		lease, err := mutex.Lock(context.Background())
		at := monotonic()
		if err != nil {
			return 0, err
		}
		return at, lease.Release(context.Background())
	}, c.close}, nil
}

// The bare doorbell: eight bytes into a file that the other process watches. No
// lock can be handed over faster by a file than this.

type bellGiver struct{ file *os.File }

func newBellGiver(dir string) (giver, error) {
	f, err := os.Create(filepath.Join(dir, "bell"))
	return bellGiver{f}, err
}

func (bellGiver) take() error           { return nil }
func (bellGiver) waited() (bool, error) { return true, nil }
func (g bellGiver) close() error        { return g.file.Close() }
func (g bellGiver) give() error {
	_, err := g.file.WriteAt(make([]byte, 8), 0)
	return err
}

func newBellWaiter(dir string) (worker, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	if err := w.Add(filepath.Join(dir, "bell")); err != nil {
		return nil, errors.Join(err, w.Close())
	}
	return waiterRole{func() (int64, error) {
		select {
		case <-w.Events:
			return monotonic(), nil
		case err := <-w.Errors:
			return 0, err
		}
	}, w.Close}, nil
}

// A bare flock, which the kernel hands over to somebody.

type flockGiver struct{ file *os.File }

func newFlockGiver(dir string) (giver, error) {
	f, err := os.Create(filepath.Join(dir, "lock"))
	return flockGiver{f}, err
}

func (g flockGiver) take() error  { return lockFile(g.file) }
func (g flockGiver) give() error  { return unlockFile(g.file) }
func (g flockGiver) close() error { return g.file.Close() }
func (g flockGiver) waited() (bool, error) {
	n, err := blockedOn(g.file)
	return n > 0, err
}

func newFlockWaiter(dir string) (worker, error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	return waiterRole{func() (int64, error) {
		err := lockFile(f)
		at := monotonic()
		return at, errors.Join(err, unlockFile(f))
	}, f.Close}, nil
}
