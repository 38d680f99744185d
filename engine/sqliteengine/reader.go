package sqliteengine

import (
	"context"
	"sync/atomic"

	"github.com/lockstep-go/lockstep/engine"
)

// reader is a connection for reading, used by one goroutine at a time. Readers
// of a WAL wait for nobody and stop nobody. There are several, so that a renewal
// or a look never waits for somebody's long list.
type reader struct {
	db     database
	turn   chan struct{} // holds one: whose turn it is
	closed bool          // guarded by turn, as conn is
	conn   *conn
	reads  *atomic.Int64
}

func newReader(db database, reads *atomic.Int64) *reader {
	r := &reader{db: db, turn: make(chan struct{}, 1), reads: reads}
	r.turn <- struct{}{}
	return r
}

// do runs f, again if the database was busy: f starts over each time. What f
// reads it reads at one point in time.
func (r *reader) do(ctx context.Context, f func(*conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-r.turn:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { r.turn <- struct{}{} }()
	for {
		err := r.once(f)
		if !isBusy(err) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

func (r *reader) once(f func(*conn) error) error {
	if r.closed {
		return engine.ErrClosed
	}
	if r.conn == nil {
		c, err := r.db.openReading()
		if err != nil {
			return r.db.explain(err)
		}
		r.conn = c
	}
	err := f(r.conn)
	if code(err) != 0 { // start over with a new connection
		_ = r.conn.close()
		r.conn = nil
		if !isBusy(err) {
			return r.db.explain(err)
		}
	}
	return err
}

// version changes whenever anybody committed since it was last asked. To ask is no
// transaction.
func (r *reader) version() (version int64, err error) {
	err = r.do(context.Background(), func(c *conn) error {
		row, err := c.first("PRAGMA data_version")
		if err == nil {
			version = row.int(0)
		}
		return err
	})
	return version, err
}

// snapshot is do for several statements.
func (r *reader) snapshot(ctx context.Context, f func(*conn) error) error {
	return r.do(ctx, func(c *conn) error {
		if _, err := c.exec("BEGIN"); err != nil {
			return err
		}
		r.reads.Add(1)
		err := f(c)
		if _, end := c.exec("COMMIT"); err == nil {
			err = end
		}
		return err
	})
}

// single is do for statements that need not agree.
func (r *reader) single(ctx context.Context, f func(*conn) error) error {
	return r.do(ctx, func(c *conn) error {
		r.reads.Add(1)
		return f(c)
	})
}

func (r *reader) close() error {
	<-r.turn
	defer func() { r.turn <- struct{}{} }()
	r.closed = true
	if r.conn == nil {
		return nil
	}
	err := r.conn.close()
	r.conn = nil
	return err
}
