package sqliteengine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/engine"
)

// writer is all that writes to one database for an engine, one transaction at a
// time. Jobs that
// queue up while it is busy share its goroutine's next transaction. A caller that
// leaves early takes back a job that has not begun; one that has begun runs to
// its end, so the connection is never left in the middle of something, and the
// caller knows no outcome (S4).
//
// A lease's job that meets nobody, neither here nor at the gate, is run by its
// caller itself: two changes of goroutine cost as much as its statements. Such a
// transaction waits for nothing but the page cache: the caller's context is looked
// at before it and after it. What waits for the disk each time is the goroutine's.
type writer struct {
	e     *Engine
	db    database
	waits bool          // its commits wait for the disk
	turn  chan struct{} // holds one: whoever has it may use what follows

	gate gate
	conn *conn // nil after a failure

	mu     sync.Mutex
	queue  []*job
	closed bool
	wake   chan struct{} // holds one
	stop   chan struct{}
	done   sync.WaitGroup

	transactions atomic.Int64
}

// maxBatch is how many jobs share a transaction: others wait at the gate.
const maxBatch = 64

// job is one caller's part of a transaction. run leaves its answer in variables
// of the caller; an error means that it failed, and undoes the transaction.
type job struct {
	run   func(*txn) error
	state atomic.Int32 // jobQueued … jobLeft
	done  chan error   // holds one
}

const (
	jobQueued int32 = iota
	jobBegun
	jobLeft
)

func newWriter(e *Engine, db database, waits bool, g gate, c *conn) *writer {
	w := &writer{e: e, db: db, waits: waits, gate: g, conn: c, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	w.turn <- struct{}{}
	w.done.Go(w.loop)
	return w
}

// do runs a job in a transaction and waits for its end, or ctx's.
func (w *writer) do(ctx context.Context, run func(*txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{run: run, done: make(chan error, 1)}
	if !w.waits && w.runHere(j) {
		return <-j.done
	}
	if !w.submit(j) {
		return engine.ErrClosed
	}
	select {
	case err := <-j.done:
		return err
	case <-ctx.Done():
		return w.leave(ctx, j)
	}
}

// runHere runs the job if nobody is in its way; it must not overtake those that
// queue.
func (w *writer) runHere(j *job) bool {
	select {
	case <-w.turn:
	default:
		return false
	}
	defer func() { w.turn <- struct{}{} }()
	w.mu.Lock()
	free := !w.closed && len(w.queue) == 0
	w.mu.Unlock()
	if !free {
		return false
	}
	if ok, err := w.gate.try(); err != nil || !ok {
		return false
	}
	w.run([]*job{j})
	return true
}

// transact is do for a job with an answer. Whoever left early gets none: the
// job may still be writing it.
func transact[T any](ctx context.Context, w *writer, run func(*txn) (T, error)) (T, error) {
	var answer, none T
	err := w.do(ctx, func(t *txn) (err error) {
		answer, err = run(t)
		return err
	})
	if err != nil {
		return none, err
	}
	return answer, nil
}

// later runs a job without waiting for it; its end can be had from the channel.
func (w *writer) later(run func(*txn) error) <-chan error {
	j := &job{run: run, done: make(chan error, 1)}
	if !w.submit(j) {
		j.done <- engine.ErrClosed
	}
	return j.done
}

func (w *writer) submit(j *job) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.queue = append(w.queue, j)
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return true
}

func (w *writer) leave(ctx context.Context, j *job) error {
	if j.state.CompareAndSwap(jobQueued, jobLeft) {
		return fmt.Errorf("waiting to write, held up by %s: %w", w.gate.holder(), ctx.Err())
	}
	return ctx.Err()
}

// close refuses further jobs, runs those that queue, and ends.
func (w *writer) close() error {
	w.mu.Lock()
	already := w.closed
	w.closed = true
	w.mu.Unlock()
	if !already {
		close(w.stop)
	}
	w.done.Wait()
	<-w.turn
	defer func() { w.turn <- struct{}{} }()
	return errors.Join(w.discard(), w.gate.close())
}

func (w *writer) loop() {
	for {
		wrote, stopped := w.writeBatch()
		switch {
		case wrote:
		case stopped:
			return
		default:
			select {
			case <-w.wake:
			case <-w.stop:
			}
		}
	}
}

// writeBatch takes its turn first: nobody overtakes what it takes.
func (w *writer) writeBatch() (wrote, stopped bool) {
	<-w.turn
	defer func() { w.turn <- struct{}{} }()
	batch, stopped := w.take()
	if len(batch) > 0 {
		w.write(batch)
	}
	return len(batch) > 0, stopped
}

// take is the next batch: the longest run of jobs that nobody left.
func (w *writer) take() (batch []*job, stopped bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for len(w.queue) > 0 && len(batch) < maxBatch {
		j := w.queue[0]
		w.queue = w.queue[1:]
		if j.state.Load() == jobQueued {
			batch = append(batch, j)
		}
	}
	return batch, w.closed
}

// write waits for the gate and runs a batch.
func (w *writer) write(batch []*job) {
	if err := w.gate.enter(w.stop); err != nil {
		for _, j := range batch {
			j.done <- errIfStopped(err)
		}
		return
	}
	w.run(batch)
}

// run runs a batch in one transaction, inside the gate, and leaves that. If the
// transaction fails, nothing of it happened, and each job gets one of its own:
// one must not fail with another.
func (w *writer) run(batch []*job) {
	begun := batch[:0]
	for _, j := range batch {
		if j.state.CompareAndSwap(jobQueued, jobBegun) {
			begun = append(begun, j)
		}
	}
	var t *txn
	var err error
	if len(begun) > 0 {
		t, err = w.transact(begun)
	}
	w.release(t)
	if err != nil && len(begun) > 1 && !errors.Is(err, errUnknown) {
		for _, j := range begun {
			j.state.Store(jobQueued)
			w.write([]*job{j})
		}
		return
	}
	for _, j := range begun {
		j.done <- err
	}
}

func errIfStopped(err error) error {
	if errors.Is(err, errStopped) {
		return engine.ErrClosed
	}
	return err
}

// release leaves the gate, and only then tells those who were let in: they
// would meet it closed.
func (w *writer) release(t *txn) {
	if err := w.gate.leave(); err != nil {
		w.e.log.Error("lockstep: leave the gate", "error", err)
	}
	if t == nil {
		return
	}
	w.e.ring(t.rings)
	for _, f := range t.after {
		f()
	}
}
