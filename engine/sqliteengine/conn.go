package sqliteengine

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"iter"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"

	"github.com/lockstep-go/lockstep/engine"
)

// conn is one connection to the database with its prepared statements, for one
// goroutine at a time. It uses the driver without database/sql: its pool,
// its conversions and its goroutine per cancellable statement cost more than
// the statements here. Nothing of it takes a context: statements are tiny, and
// an interrupted one would leave it open what happened. Whoever must obey a
// context waits for the owner of the connection and leaves (writer.go).
type conn struct {
	raw   driver.Conn
	stmts map[string]driver.Stmt
	args  []driver.NamedValue
}

// busyTimeout is what SQLite waits by itself, in ms. Only the recovery of a
// dead process's log, or the last one's closing, can make anybody wait at all:
// writers queue at the gate. isBusy is met by trying again.
const busyTimeout = 50

func openConn(path string, pragmas ...string) (*conn, error) {
	raw, err := (&sqlite.Driver{}).Open("file:" + escape(path))
	if err != nil {
		return nil, err
	}
	c := &conn{raw: raw, stmts: make(map[string]driver.Stmt)}
	for _, p := range append([]string{fmt.Sprintf("busy_timeout=%d", busyTimeout)}, pragmas...) {
		if err := c.pragma(p); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

// escape makes a path safe inside a file: URI.
func escape(path string) string {
	var b []byte
	for i := range len(path) {
		switch c := path[i]; c {
		case '%', '?', '#':
			b = fmt.Appendf(b, "%%%02x", c)
		case '\\':
			b = append(b, '/')
		default:
			b = append(b, c)
		}
	}
	return string(b)
}

func (c *conn) close() error {
	var errs []error
	for _, s := range c.stmts {
		errs = append(errs, s.Close())
	}
	return errors.Join(append(errs, c.raw.Close())...)
}

// pragma runs one pragma or a script once, unprepared.
func (c *conn) pragma(p string) error { return c.script("PRAGMA " + p) }

func (c *conn) script(sql string) error {
	_, err := c.raw.(driver.ExecerContext).ExecContext(context.Background(), sql, nil)
	return err
}

func (c *conn) prepare(sql string, args []any) (driver.Stmt, error) {
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	if s := c.stmts[sql]; s != nil {
		return s, nil
	}
	s, err := c.raw.Prepare(sql)
	if err != nil {
		return nil, err
	}
	c.stmts[sql] = s
	return s, nil
}

// exec runs a prepared statement and says how many rows it changed. Arguments
// are int64, string, []byte or nil.
func (c *conn) exec(sql string, args ...any) (int64, error) {
	s, err := c.prepare(sql, args)
	if err != nil {
		return 0, err
	}
	r, err := s.(driver.StmtExecContext).ExecContext(context.Background(), c.args)
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}

// row is one row of a result, until the next one.
type row []driver.Value

func (r row) int(i int) int64 {
	v, _ := r[i].(int64)
	return v
}

func (r row) text(i int) string {
	v, _ := r[i].(string)
	return v
}

func (r row) blob(i int) []byte {
	v, _ := r[i].([]byte)
	return v
}

// query yields the rows of a prepared statement; an error is the last.
func (c *conn) query(sql string, args ...any) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		s, err := c.prepare(sql, args)
		if err != nil {
			yield(nil, err)
			return
		}
		rows, err := s.(driver.StmtQueryContext).QueryContext(context.Background(), c.args)
		if err != nil {
			yield(nil, err)
			return
		}
		dest := make([]driver.Value, len(rows.Columns()))
		for {
			err := rows.Next(dest)
			if err != nil {
				err = errors.Join(ignoreEOF(err), rows.Close())
				if err != nil {
					yield(nil, err)
				}
				return
			}
			if !yield(dest, nil) {
				_ = rows.Close()
				return
			}
		}
	}
}

func ignoreEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// first is the first row of a result, nil where there is none.
func (c *conn) first(sql string, args ...any) (row, error) {
	for r, err := range c.query(sql, args...) {
		return r, err
	}
	return nil, nil
}

// code is SQLite's primary result code; 0: not an error of SQLite.
func code(err error) int { return extendedCode(err) & 0xff }

func extendedCode(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

func isBusy(err error) bool {
	c := code(err)
	return c == lib.SQLITE_BUSY || c == lib.SQLITE_LOCKED
}

// explain turns an error of SQLite into what the caller can act on. The
// transaction it came from must have been rolled back.
func (d dir) explain(err error) error {
	var what string
	switch code(err) {
	case lib.SQLITE_FULL:
		what = "the disk is full; free some space"
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		what = "the database is damaged; stop every process that uses the directory, and remove it or restore a copy"
	case lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM:
		what = "the database cannot be written; the directory and all in it must belong to this user"
	default:
		if extendedCode(err) != lib.SQLITE_IOERR_SHMSIZE {
			return err
		}
		what = "no room for the database's shared memory, so the disk is full; free some space"
	}
	return fmt.Errorf("%w: %s: %s (%w)", engine.ErrUnusable, d, what, err)
}
