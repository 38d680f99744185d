package sqliteengine

import (
	"errors"
	"fmt"

	"github.com/lockstep-go/lockstep/engine"
)

// txn is a transaction under way, in the database of its writer.
type txn struct {
	*conn
	e     *Engine
	now   int64
	after []func() // what to do after the commit, before anybody is answered

	// What follows is of lines.db.
	meta   meta
	known  bool // meta was read
	alive  map[int64]bool
	rings  map[int64]struct{} // bells to ring after the commit
	settle []string           // lines to look at before the job is done
}

// meta is what lines.db's own row holds.
type meta struct {
	token, watched int64
	changed        bool
}

// load reads the row, where no statement before has brought it along.
func (t *txn) load() error {
	if t.known {
		return nil
	}
	r, err := t.first("SELECT token, shares FROM claims WHERE name = '' AND seq = 0")
	if err == nil {
		t.know(r)
	}
	return err
}

// know takes the row's columns, unless this transaction has newer ones.
func (t *txn) know(r row) {
	if t.known {
		return
	}
	t.meta, t.known = meta{token: r.int(0), watched: r.int(1)}, true
}

// finish writes meta back.
func (t *txn) finish() error {
	if !t.meta.changed {
		return nil
	}
	_, err := t.exec("UPDATE claims SET token = ?, shares = ? WHERE name = '' AND seq = 0", t.meta.token, t.meta.watched)
	return err
}

// ring has a bell rung after the commit.
func (t *txn) ring(bell int64) {
	if bell == 0 {
		return
	}
	if t.rings == nil {
		t.rings = make(map[int64]struct{})
	}
	t.rings[bell] = struct{}{}
}

// changed has everybody told who watches the line.
func (t *txn) changed(name string) error {
	if err := t.load(); err != nil || t.meta.watched == 0 {
		return err
	}
	for r, err := range t.query("SELECT bell FROM watchers WHERE topic = ?", lineTopic(name)) {
		if err != nil {
			return err
		}
		t.ring(r.int(0))
	}
	return nil
}

// errUnknown marks a commit that may or may not have happened.
var errUnknown = errors.New("the outcome of the commit is unknown")

// transact is one transaction: all of the jobs, or nothing and an error.
func (w *writer) transact(jobs []*job) (*txn, error) {
	c, err := w.begin()
	if err != nil {
		return nil, w.fail(c, err)
	}
	t := &txn{conn: c, e: w.e, now: w.e.clock.mono(), alive: make(map[int64]bool)}
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
func (w *writer) begin() (*conn, error) {
	for {
		c, err := w.use()
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

// use is the connection, opened anew after a failure.
func (w *writer) use() (*conn, error) {
	if w.conn != nil {
		return w.conn, nil
	}
	c, err := w.db.openWriting(false)
	if err != nil {
		return nil, err
	}
	w.conn = c
	return c, nil
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
	return w.db.explain(err)
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
	if w.conn == nil {
		return nil
	}
	err := w.conn.close()
	w.conn = nil
	return err
}
