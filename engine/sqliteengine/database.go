package sqliteengine

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	lib "modernc.org/sqlite/lib"

	"github.com/lockstep-go/lockstep/engine"
)

// The directory has two databases, as what is in them lives differently long.
//
// lockstep.db is what users store. Its commits wait for the disk (FULL).
//
// lines.db is sessions, claims, watchers and the token's count: all of it ends
// with the boot. It is never synced (OFF): a process that is killed loses
// nothing, as the kernel has what it wrote; after a power cut the file may be
// anything, and nobody opens it again (db.go). A checkpoint that waits for the
// disk would hold up every lock of the directory for as long.
const (
	storeName = "lockstep.db"
	linesName = "lines.db"
)

// database is one of the two.
type database struct {
	path     string
	sync     string // the pragma synchronous of those who write
	logPages int
	schema   string
	repair   string // what to do when it is damaged
}

//go:embed store.sql
var storeSchema string

//go:embed lines.sql
var linesSchema string

func (d dir) store() database {
	return database{
		path: filepath.Join(string(d), storeName), sync: "FULL", logPages: storeLogPages, schema: storeSchema,
		repair: "remove the directory or restore a copy",
	}
}

func (d dir) lines() database {
	return database{
		path: filepath.Join(string(d), linesName), sync: "OFF", logPages: linesLogPages, schema: linesSchema,
		repair: "remove " + linesName + ": what is held and waited for goes with it, what was stored stays",
	}
}

func (db database) String() string { return db.path }

// isThere looks without opening: closing a descriptor drops SQLite's locks.
func (db database) isThere() bool {
	_, err := os.Lstat(db.path)
	return err == nil
}

// Pages are small because what a lease's transaction costs is pages, and the
// log's checksum of one costs more than the statements (measured: 84 µs a lock and
// unlock with 4096 bytes, 51 µs with 1024).
const pageSize = 1024

// The log is carried over to the database after so many pages, and one that a
// great commit blew up is cut again. Of lockstep.db that waits for the disk, so it
// is done seldom. Of lines.db it does not, and it is done often: its log has the
// same few pages again and again, and SQLite looks for the newest of them one by
// one (measured: 91 µs a turn with 4000 pages, 79 with 256).
const (
	storeLogPages = 4000
	linesLogPages = 256
	maxIdleLog    = 8 << 20 // bytes
)

// openWriting is a connection for a writer.
func (db database) openWriting(create bool) (*conn, error) {
	return openConn(db.path, create, "synchronous="+db.sync, fmt.Sprintf("page_size=%d", pageSize), "journal_mode=WAL",
		fmt.Sprintf("wal_autocheckpoint=%d", db.logPages), fmt.Sprintf("journal_size_limit=%d", maxIdleLog))
}

// openReading is a connection for a reader.
func (db database) openReading() (*conn, error) { return openConn(db.path, false) }

// remove takes the database away, unread and with its journals, which come
// first: a journal must not meet a new database. Nobody may have it open.
func (db database) remove() error {
	for _, journal := range []string{"-wal", "-shm", "-journal", ""} {
		if err := os.Remove(db.path + journal); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// explain turns an error of SQLite into what the caller can act on. The
// transaction it came from must have been rolled back.
func (db database) explain(err error) error {
	if errors.Is(err, engine.ErrUnusable) {
		return err // it says what is wrong
	}
	var what string
	switch code(err) {
	case lib.SQLITE_FULL:
		what = "the disk is full; free some space"
	case lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB:
		what = "the database is damaged; stop every process that uses the directory, and " + db.repair
	case lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN, lib.SQLITE_PERM:
		what = "the database cannot be written; the directory and all in it must belong to this user"
		if !db.isThere() {
			what = "the database was removed; stop every process that uses the directory"
		}
	default:
		if extendedCode(err) != lib.SQLITE_IOERR_SHMSIZE {
			return err
		}
		what = "no room for the database's shared memory, so the disk is full; free some space"
	}
	return fmt.Errorf("%w: %s: %s (%w)", engine.ErrUnusable, db, what, err)
}
