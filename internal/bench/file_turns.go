package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Processes that want one lock, each again as soon as it gave it back. A turn
// counts when the one before was another process's: a lock that lets its last
// holder in again hands nothing over. The processes are spread over the cores:
// two that share one alternate as the scheduler pleases, not as the lock does.

// turnsReport is what one process saw of it.
type turnsReport struct {
	Turns   int // real hand-offs
	Repeats int // grants that were none
	Waited  time.Duration
	Longest time.Duration // wait for one grant
}

// add sums up.
func (t *turnsReport) add(o turnsReport) {
	t.Turns += o.Turns
	t.Repeats += o.Repeats
	t.Waited += o.Waited
	t.Longest = max(t.Longest, o.Longest)
}

const turnsSpan = 500 * time.Millisecond

// longestWait is beside the mean of all.
var longestWait = target{atMost: 20, unit: " ×"}

// turns is a sampler: hand-offs per second.
type turns struct {
	all    []*process
	span   time.Duration
	total  turnsReport // over all samples
	shares []int       // grants of each process
}

func turnsContender(name, kind string, processes int) contender {
	return contender{name, func(b *bench) (sampler, error) {
		t, err := newTurns(b, processes, true, "turns", job{Kind: kind})
		return t, err
	}}
}

// newTurns starts processes of a role, spread over the cores or not.
func newTurns(b *bench, processes int, spread bool, role string, j job) (t *turns, err error) {
	if j.Dir, err = b.folder("turns"); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(j.Dir, "last"), make([]byte, 8), 0o600); err != nil {
		return nil, err
	}
	all, err := startAll(processes, spread, role, j)
	return &turns{all: all, span: b.while(turnsSpan), shares: make([]int, processes)}, err
}

// sample goes on until somebody handed over: a rate of none has no ratio.
func (t *turns) sample() (float64, error) {
	spent := time.Duration(0)
	for span := t.span; ; span *= 2 {
		handed, err := t.contend(span)
		if err != nil {
			return 0, err
		}
		spent += span
		if handed > 0 {
			return float64(handed) / spent.Seconds(), nil
		}
	}
}

// contend has all processes at it for so long.
func (t *turns) contend(span time.Duration) (handed int, err error) {
	reports, err := askAll(t.all, order{Do: "turns", At: monotonic() + int64(span)})
	for i, r := range reports {
		handed += r.Took.Turns
		t.shares[i] += r.Took.Turns + r.Took.Repeats
		t.total.add(r.Took)
	}
	return handed, err
}

// mean is of all waits of the row.
func (t *turns) mean() time.Duration {
	return t.total.Waited / time.Duration(t.total.Turns+t.total.Repeats)
}

func (t *turns) longestOverMean() float64 { return float64(t.total.Longest) / float64(t.mean()) }

// jain is the index of fairness: 1 where all shares are the same, 1/n where one
// has all.
func (t *turns) jain() float64 {
	sum, squares := 0.0, 0.0
	for _, n := range t.shares {
		sum += float64(n)
		squares += float64(n) * float64(n)
	}
	return sum * sum / (float64(len(t.shares)) * squares)
}

func (t *turns) close() error { return closeAll(t.all) }

// fairness is the lines on the shares and the waits of both.
func fairness(what, peer string, ours, theirs *turns, shares, longest target) []line {
	times := func(t *turns) string { return plain.format(t.longestOverMean()) + " ×" }
	return []line{
		{
			what: what + "Jain's index of the shares", ours: fmt.Sprintf("%.4f", ours.jain()), peer: peer,
			theirs: fmt.Sprintf("%.4f", theirs.jain()), target: shares, got: ours.jain(),
		},
		{
			what: what + "longest wait / mean", ours: times(ours), peer: peer, theirs: times(theirs),
			target: longest, got: ours.longestOverMean(),
		},
	}
}

// The processes.

type turnsRole struct {
	last *os.File // whose turn it was
	me   uint64
	lock func() (unlock func() error, err error)
	end  func() error
	// rest is what a process does that finds itself let in again; nil: it takes
	// that for its turn.
	rest func()
}

func newTurnsRole(j job) (worker, error) {
	last, err := os.OpenFile(filepath.Join(j.Dir, "last"), os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	r := &turnsRole{last: last, me: uint64(os.Getpid())}
	switch j.Kind {
	case "lockstep":
		err = r.useLockstep(j.Dir)
	case "flock":
		err = r.useFlock(j.Dir)
	case "flock-step":
		r.rest = stepBack
		err = r.useFlock(j.Dir)
	default:
		err = fmt.Errorf("nobody takes turns by %q", j.Kind)
	}
	return r, err
}

func (r *turnsRole) useLockstep(dir string) error {
	c, err := fileClient(filepath.Join(dir, "engine"))
	if err != nil {
		return err
	}
	mutex, ctx := c.Mutex(lockName), context.Background()
	r.end = c.close
	r.lock = func() (func() error, error) {
		lease, err := mutex.Lock(ctx)
		if err != nil {
			return nil, err
		}
		return func() error { return lease.Release(ctx) }, nil
	}
	return nil
}

func (r *turnsRole) useFlock(dir string) error {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	r.end = f.Close
	r.lock = func() (func() error, error) {
		return func() error { return unlockFile(f) }, lockFile(f)
	}
	return nil
}

func (r *turnsRole) obey(o order) (report, error) {
	var took turnsReport
	began := monotonic()
	for {
		unlock, err := r.lock()
		if err != nil {
			return report{}, err
		}
		now := monotonic()
		mine, err := r.sign()
		if err := errors.Join(err, unlock()); err != nil {
			return report{}, err
		}
		if now > o.At {
			return report{Took: took}, nil
		}
		if mine && r.rest != nil {
			r.rest()
			continue
		}
		if mine {
			took.Repeats++
		} else {
			took.Turns++
		}
		took.Waited += time.Duration(now - began)
		took.Longest = max(took.Longest, time.Duration(now-began))
		began = monotonic()
	}
}

// sign reads who had the lock before, and leaves its own sign. Two system calls
// are all the work that is done under the lock.
func (r *turnsRole) sign() (mine bool, err error) {
	var b [8]byte
	if _, err := r.last.ReadAt(b[:], 0); err != nil {
		return false, err
	}
	mine = binary.LittleEndian.Uint64(b[:]) == r.me
	binary.LittleEndian.PutUint64(b[:], r.me)
	_, err = r.last.WriteAt(b[:], 0)
	return mine, err
}

func (r *turnsRole) close() error { return errors.Join(r.end(), r.last.Close()) }
