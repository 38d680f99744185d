package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
	_ "modernc.org/sqlite" // the peer, by database/sql as its users have it

	"github.com/lockstep-go/lockstep/engine"
)

// fileCycles is how many locks and unlocks one sample holds.
const fileCycles = 400

func openFileEngine(b *bench) (engine.Engine, error) {
	dir, err := b.folder("lockstep")
	if err != nil {
		return nil, err
	}
	return fileEngine(dir)
}

// durableFlock is what a careful program does by hand: it takes the flock, puts
// on record that it has it, and makes the record durable. The file stays open.
func durableFlock(n int) contender {
	return contender{"flock + append + fdatasync", func(b *bench) (sampler, error) {
		f, err := b.file("flock")
		if err != nil {
			return nil, err
		}
		record := fmt.Appendf(nil, "locked by %d\n", os.Getpid())
		op := func() error {
			if err := lockFile(f); err != nil {
				return err
			}
			if _, err := f.Write(record); err != nil {
				return err
			}
			if err := syncData(f); err != nil {
				return err
			}
			return unlockFile(f)
		}
		return loop{n: b.count(n), op: op, done: f.Close}, nil
	}}
}

// gofrsFlock keeps no record of anything: nothing survives, nobody is in line.
func gofrsFlock(n int) contender {
	return contender{"gofrs/flock", func(b *bench) (sampler, error) {
		dir, err := b.folder("gofrs")
		if err != nil {
			return nil, err
		}
		l := flock.New(filepath.Join(dir, "lock"))
		op := func() error {
			if err := l.Lock(); err != nil {
				return err
			}
			return l.Unlock()
		}
		return loop{n: b.count(n), op: op, done: l.Close}, nil
	}}
}

// plainSQLite is a table of locks by hand: a transaction that inserts a row, and
// one that deletes it. synchronous is NORMAL or FULL.
func plainSQLite(n int, synchronous string) contender {
	return contender{"SQLite " + synchronous + ", 2 transactions", func(b *bench) (sampler, error) {
		dir, err := b.folder("sqlite")
		if err != nil {
			return nil, err
		}
		p, err := openPlainSQLite(filepath.Join(dir, "plain.db"), synchronous)
		if err != nil {
			return nil, err
		}
		return loop{n: b.count(n), op: p.cycle, done: p.close}, nil
	}}
}

type sqlitePeer struct {
	db                            *sql.DB
	conn                          *sql.Conn
	begin, insert, remove, commit *sql.Stmt
}

func openPlainSQLite(path, synchronous string) (p *sqlitePeer, err error) {
	ctx := context.Background()
	p = &sqlitePeer{}
	if p.db, err = sql.Open("sqlite", "file:"+path+"?_pragma=journal_mode(WAL)&_pragma=synchronous("+synchronous+")"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.db.Close())
		}
	}()
	if p.conn, err = p.db.Conn(ctx); err != nil {
		return nil, err
	}
	if _, err := p.conn.ExecContext(ctx, "CREATE TABLE locks (name TEXT PRIMARY KEY, holder TEXT) WITHOUT ROWID"); err != nil {
		return nil, err
	}
	for text, stmt := range map[string]**sql.Stmt{
		"BEGIN IMMEDIATE": &p.begin, "COMMIT": &p.commit,
		"INSERT INTO locks VALUES (?, ?)":                 &p.insert,
		"DELETE FROM locks WHERE name = ? AND holder = ?": &p.remove,
	} {
		if *stmt, err = p.conn.PrepareContext(ctx, text); err != nil { //nolint:sqlclosecheck // closed with its connection
			return nil, err
		}
	}
	return p, nil
}

func (p *sqlitePeer) cycle() error {
	for _, change := range []*sql.Stmt{p.insert, p.remove} {
		if _, err := p.begin.Exec(); err != nil {
			return err
		}
		if _, err := change.Exec(lockName, "bench"); err != nil {
			return err
		}
		if _, err := p.commit.Exec(); err != nil {
			return err
		}
	}
	return nil
}

func (p *sqlitePeer) close() error { return errors.Join(p.conn.Close(), p.db.Close()) }
