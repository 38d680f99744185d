package sqliteengine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/engine"
)

// writer is all that writes for an engine, one transaction at a time. Jobs that
// queue up while it is busy share its goroutine's next transaction. A caller that
// leaves early takes back a job that has not begun; one that has begun runs to
// its end, so the connection is never left in the middle of something, and the
// caller knows no outcome (S4).
//
// A lease's job that meets nobody, neither here nor at the gate, is run by its
// caller itself: two changes of goroutine cost as much as its statements. Such a
// transaction waits for nothing but the page cache, so that the caller's context
// is obeyed as soon as it matters. What waits for the disk is the goroutine's.
type writer struct {
	e    *Engine
	turn chan struct{} // holds one: whoever has it may use what follows

	gate  gate
	lease *conn // synchronous=NORMAL
	store *conn // synchronous=FULL: also makes durable what lease wrote before

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
	run     func(*txn) error
	durable bool
	state   atomic.Int32 // jobQueued … jobLeft
	done    chan error   // holds one
}

const (
	jobQueued int32 = iota
	jobBegun
	jobLeft
)

// txn is a transaction under way.
type txn struct {
	*conn
	e      *Engine
	now    int64
	meta   meta
	known  bool // meta was read
	alive  map[int64]bool
	rings  map[int64]struct{} // bells to ring after the commit
	after  []func()           // what to do after the commit, before anybody is answered
	settle []string           // lines to look at before the job is done
}

// meta is the part of the one row of table meta that transactions change.
type meta struct {
	token, revision, base, watched int64
	changed                        bool
}

func newWriter(e *Engine, g gate) *writer {
	w := &writer{e: e, gate: g, turn: make(chan struct{}, 1), wake: make(chan struct{}, 1), stop: make(chan struct{})}
	w.turn <- struct{}{}
	w.done.Go(w.loop)
	return w
}

// do runs a job in a transaction and waits for its end, or ctx's.
func (w *writer) do(ctx context.Context, durable bool, run func(*txn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j := &job{run: run, durable: durable, done: make(chan error, 1)}
	if !durable && w.runHere(j) {
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
func transact[T any](ctx context.Context, w *writer, durable bool, run func(*txn) (T, error)) (T, error) {
	var answer, none T
	err := w.do(ctx, durable, func(t *txn) (err error) {
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
	return errors.Join(w.discard(), w.gate.file.Close())
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

// errUnknown marks a commit that may or may not have happened.
var errUnknown = errors.New("the outcome of the commit is unknown")

// transact is one transaction: all of the jobs, or nothing and an error.
func (w *writer) transact(jobs []*job) (*txn, error) {
	durable := false
	for _, j := range jobs {
		durable = durable || j.durable
	}
	c, err := w.begin(durable)
	if err != nil {
		return nil, w.fail(c, err)
	}
	t := &txn{conn: c, e: w.e, now: w.e.clock.mono(), alive: make(map[int64]bool), rings: make(map[int64]struct{})}
	for _, j := range jobs {
		err := j.run(t)
		if err == nil {
			err = t.settleAll()
		}
		if err != nil {
			return nil, w.fail(c, err)
		}
	}
	if err := t.finish(); err != nil {
		return nil, w.fail(c, err)
	}
	w.transactions.Add(1) // before anybody can see what it did
	if _, err := c.exec("COMMIT"); err != nil {
		return nil, w.failCommit(c, err)
	}
	return t, nil
}

// begin opens the transaction, and waits while SQLite says busy. Inside the gate
// nobody else writes: it is somebody who recovers a dead process's log, or the
// last one's farewell, for a moment.
func (w *writer) begin(durable bool) (*conn, error) {
	for {
		c, err := w.conn(durable)
		if err == nil {
			_, err = c.exec("BEGIN IMMEDIATE")
		}
		if !isBusy(err) {
			return c, err
		}
		select {
		case <-w.stop:
			return c, errStopped
		default:
		}
	}
}

// The log is carried over to the database after so many pages; a rarer pause to
// do it is a longer one. A log that a great commit blew up is cut again.
const (
	checkpointPages = 4000    // 4 MB
	maxIdleLog      = 8 << 20 // bytes
)

// conn opens the connection on its first use, and after a failure.
func (w *writer) conn(durable bool) (*conn, error) {
	c, sync := &w.lease, "NORMAL"
	if durable {
		c, sync = &w.store, "FULL"
	}
	if *c == nil {
		opened, err := openConn(w.e.dir.db(), "synchronous="+sync,
			fmt.Sprintf("wal_autocheckpoint=%d", checkpointPages), fmt.Sprintf("journal_size_limit=%d", maxIdleLog))
		if err != nil {
			return nil, err
		}
		*c = opened
	}
	return *c, nil
}

// fail undoes a transaction. A connection that met an error is not used again:
// the next job opens another, and meets the disk as it is then.
func (w *writer) fail(c *conn, err error) error {
	if c != nil {
		_, _ = c.exec("ROLLBACK") // SQLite may have done it by itself
	}
	_ = w.discard()
	if errors.Is(err, errStopped) {
		return engine.ErrClosed
	}
	return w.e.dir.explain(err)
}

// failCommit is fail for a COMMIT: only a full disk is certain not to have
// committed, as its pages were not written.
func (w *writer) failCommit(c *conn, err error) error {
	explained := w.fail(c, err)
	if errors.Is(explained, engine.ErrUnusable) {
		return explained
	}
	return fmt.Errorf("%w: %w", errUnknown, explained)
}

func (w *writer) discard() error {
	var errs []error
	for _, c := range []**conn{&w.lease, &w.store} {
		if *c != nil {
			errs = append(errs, (*c).close())
			*c = nil
		}
	}
	return errors.Join(errs...)
}

// load reads the meta row, where no statement before has brought it along.
func (t *txn) load() error {
	if t.known {
		return nil
	}
	r, err := t.first("SELECT token, revision, base, watched FROM meta")
	if err == nil {
		t.know(r)
	}
	return err
}

// know takes the meta row's columns, unless this transaction has newer ones.
func (t *txn) know(r row) {
	if t.known {
		return
	}
	t.meta, t.known = meta{token: r.int(0), revision: r.int(1), base: r.int(2), watched: r.int(3)}, true
}

// finish writes meta back.
func (t *txn) finish() error {
	if !t.meta.changed {
		return nil
	}
	_, err := t.exec("UPDATE meta SET token = ?, revision = ?, base = ?, watched = ?",
		t.meta.token, t.meta.revision, t.meta.base, t.meta.watched)
	return err
}

// ring has a bell rung after the commit.
func (t *txn) ring(bell int64) {
	if bell != 0 {
		t.rings[bell] = struct{}{}
	}
}

// changed has everybody told who watches the topic.
func (t *txn) changed(topic string) error {
	if err := t.load(); err != nil || t.meta.watched == 0 {
		return err
	}
	for r, err := range t.query("SELECT bell FROM watchers WHERE topic = ?", topic) {
		if err != nil {
			return err
		}
		t.ring(r.int(0))
	}
	return nil
}
