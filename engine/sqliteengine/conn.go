package sqliteengine

import (
	"errors"
	"fmt"
	"iter"
	"strconv"

	"modernc.org/libc"
	_ "modernc.org/sqlite" // what it sets up when the program starts
	lib "modernc.org/sqlite/lib"
)

// conn is one connection to the database with its prepared statements, for one
// goroutine at a time. It speaks SQLite's own interface: database/sql and its
// driver prepare, convert and allocate for longer than the statements here take
// (measured: 120 µs of processor time a lock and unlock, here 75).
//
// Nothing of it takes a context: statements are tiny, and an interrupted one
// would leave it open what happened. Whoever must obey a context waits for the
// owner of the connection, and leaves (writer.go).
type conn struct {
	tls   *libc.TLS
	db    uintptr
	stmts map[string]uintptr
	bound []uintptr // memory that the statement under way reads from
}

// busyTimeout is what SQLite waits by itself, in ms. Only the recovery of a
// dead process's log, or the last one's closing, can make anybody wait at all:
// writers queue at the gate. isBusy is met by trying again.
const busyTimeout = 50

// openConn makes a database that is not there only where it is asked to: one
// that somebody removed must not come back empty.
func openConn(path string, create bool, pragmas ...string) (*conn, error) {
	c := &conn{tls: libc.NewTLS(), stmts: make(map[string]uintptr)}
	if err := c.open(path, create); err != nil {
		return nil, errors.Join(err, c.close())
	}
	for _, p := range append([]string{fmt.Sprintf("busy_timeout=%d", busyTimeout)}, pragmas...) {
		if err := c.pragma(p); err != nil {
			return nil, errors.Join(err, c.close())
		}
	}
	return c, nil
}

func (c *conn) open(path string, create bool) error {
	flags := int32(lib.SQLITE_OPEN_READWRITE | lib.SQLITE_OPEN_NOMUTEX)
	if create {
		flags |= lib.SQLITE_OPEN_CREATE
	}
	name, err := libc.CString(path)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, name)
	rc := int32(0)
	c.db, err = c.out(func(p uintptr) {
		rc = lib.Xsqlite3_open_v2(c.tls, name, p, flags, 0)
	})
	if err != nil {
		return err
	}
	if rc == lib.SQLITE_OK {
		rc = lib.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	}
	return c.check(rc)
}

// out has f fill in a pointer.
func (c *conn) out(f func(p uintptr)) (uintptr, error) {
	p := libc.Xcalloc(c.tls, 1, 8)
	if p == 0 {
		return 0, errNoMemory
	}
	defer libc.Xfree(c.tls, p)
	f(p)
	return libc.AtomicLoadPUintptr(p), nil
}

var errNoMemory = errors.New("sqlite: out of memory")

func (c *conn) close() error {
	for _, s := range c.stmts {
		_ = lib.Xsqlite3_finalize(c.tls, s) // repeats the statement's last error
	}
	c.free()
	rc := lib.Xsqlite3_close_v2(c.tls, c.db)
	c.tls.Close()
	if rc != lib.SQLITE_OK {
		return &sqliteError{code: int(rc), text: "close"}
	}
	return nil
}

// sqliteError is an extended result code and what SQLite says about it.
type sqliteError struct {
	code int
	text string
}

func (e *sqliteError) Error() string { return fmt.Sprintf("sqlite: %s (%d)", e.text, e.code) }

func (c *conn) check(rc int32) error {
	if rc == lib.SQLITE_OK || rc == lib.SQLITE_ROW || rc == lib.SQLITE_DONE {
		return nil
	}
	text := libc.GoString(lib.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 {
		text = libc.GoString(lib.Xsqlite3_errmsg(c.tls, c.db))
	}
	return &sqliteError{code: int(rc), text: text}
}

// pragma runs one pragma, script any statements, once and unprepared.
func (c *conn) pragma(p string) error { return c.script("PRAGMA " + p) }

func (c *conn) script(sql string) error {
	text, err := libc.CString(sql)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, text)
	return c.check(lib.Xsqlite3_exec(c.tls, c.db, text, 0, 0, 0))
}

// transaction runs f in a transaction of its own, for those who are alone: nobody
// can come between what it reads and what it writes.
func (c *conn) transaction(f func() error) error {
	if err := c.script("BEGIN"); err != nil {
		return err
	}
	err := f()
	if err == nil {
		err = c.script("COMMIT")
	}
	if err != nil {
		_ = c.script("ROLLBACK") // nothing to roll back where COMMIT did it
	}
	return err
}

// setLayout says in the database which layout it has.
func (c *conn) setLayout() error { return c.pragma("user_version=" + strconv.Itoa(layoutVersion)) }

// prepare finds or makes the statement, and gives it its arguments.
func (c *conn) prepare(sql string, args []any) (uintptr, error) {
	s := c.stmts[sql]
	if s == 0 {
		var err error
		if s, err = c.compile(sql); err != nil {
			return 0, err
		}
		c.stmts[sql] = s
	}
	for i, arg := range args {
		if err := c.bind(s, int32(i+1), arg); err != nil {
			c.reset(s)
			return 0, err
		}
	}
	return s, nil
}

func (c *conn) compile(sql string) (uintptr, error) {
	text, err := libc.CString(sql)
	if err != nil {
		return 0, err
	}
	defer libc.Xfree(c.tls, text)
	rc := int32(0)
	s, err := c.out(func(p uintptr) {
		rc = lib.Xsqlite3_prepare_v3(c.tls, c.db, text, int32(len(sql)), lib.SQLITE_PREPARE_PERSISTENT, p, 0)
	})
	return s, errors.Join(err, c.check(rc))
}

func (c *conn) bind(s uintptr, i int32, arg any) error {
	switch v := arg.(type) {
	case nil:
		return c.check(lib.Xsqlite3_bind_null(c.tls, s, i))
	case int64:
		return c.check(lib.Xsqlite3_bind_int64(c.tls, s, i, v))
	case string:
		p, err := c.copy(v)
		if err != nil {
			return err
		}
		return c.check(lib.Xsqlite3_bind_text(c.tls, s, i, p, int32(len(v)), 0))
	case []byte:
		if len(v) == 0 {
			return c.check(lib.Xsqlite3_bind_zeroblob(c.tls, s, i, 0))
		}
		p, err := c.copy(string(v))
		if err != nil {
			return err
		}
		return c.check(lib.Xsqlite3_bind_blob(c.tls, s, i, p, int32(len(v)), 0))
	}
	return fmt.Errorf("sqlite: cannot bind a %T", arg)
}

// copy puts bytes where SQLite can read them until the statement is reset.
func (c *conn) copy(v string) (uintptr, error) {
	p, err := libc.CString(v)
	if err == nil {
		c.bound = append(c.bound, p)
	}
	return p, err
}

// reset ends a run of the statement. It repeats an error that step reported.
func (c *conn) reset(s uintptr) {
	_ = lib.Xsqlite3_reset(c.tls, s)
	_ = lib.Xsqlite3_clear_bindings(c.tls, s)
	c.free()
}

func (c *conn) free() {
	for _, p := range c.bound {
		libc.Xfree(c.tls, p)
	}
	c.bound = c.bound[:0]
}

// exec runs a prepared statement and says how many rows it changed. Arguments
// are int64, string, []byte or nil.
func (c *conn) exec(sql string, args ...any) (int64, error) {
	s, err := c.prepare(sql, args)
	if err != nil {
		return 0, err
	}
	defer c.reset(s)
	if err := c.check(lib.Xsqlite3_step(c.tls, s)); err != nil {
		return 0, err
	}
	return lib.Xsqlite3_changes64(c.tls, c.db), nil
}

// row is one row of a result, a copy of it.
type row []cell

type cell struct {
	number int64
	bytes  []byte // nil: NULL, or a number
}

func (r row) int(i int) int64   { return r[i].number }
func (r row) text(i int) string { return string(r[i].bytes) }
func (r row) blob(i int) []byte { return r[i].bytes }

func (c *conn) row(s uintptr) row {
	r := make(row, lib.Xsqlite3_column_count(c.tls, s))
	for i := range r {
		switch col := int32(i); lib.Xsqlite3_column_type(c.tls, s, col) {
		case lib.SQLITE_INTEGER:
			r[i].number = lib.Xsqlite3_column_int64(c.tls, s, col)
		case lib.SQLITE_TEXT, lib.SQLITE_BLOB:
			p := lib.Xsqlite3_column_blob(c.tls, s, col)
			n := int(lib.Xsqlite3_column_bytes(c.tls, s, col))
			r[i].bytes = append([]byte{}, libc.GoBytes(p, n)...)
		}
	}
	return r
}

// query yields the rows of a prepared statement; an error is the last. The same
// statement must not run inside its own loop.
func (c *conn) query(sql string, args ...any) iter.Seq2[row, error] {
	return func(yield func(row, error) bool) {
		s, err := c.prepare(sql, args)
		if err != nil {
			yield(nil, err)
			return
		}
		defer c.reset(s)
		for {
			switch rc := lib.Xsqlite3_step(c.tls, s); rc {
			case lib.SQLITE_ROW:
				if !yield(c.row(s), nil) {
					return
				}
			case lib.SQLITE_DONE:
				return
			default:
				yield(nil, c.check(rc))
				return
			}
		}
	}
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
	if e, ok := errors.AsType[*sqliteError](err); ok {
		return e.code
	}
	return 0
}

func isBusy(err error) bool {
	c := code(err)
	return c == lib.SQLITE_BUSY || c == lib.SQLITE_LOCKED || c == lib.SQLITE_PROTOCOL
}
