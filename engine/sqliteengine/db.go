package sqliteengine

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// layoutVersion is the layout of schema.sql and of the files beside it. It rises
// when a process of the version before could misread what this one writes;
// what an older one can live with (a new table, a new index) does not raise it.
const layoutVersion = 1

//go:embed schema.sql
var schema string

// oldestSQLite is the first that cannot lose commits when a log is reset.
var oldestSQLite = [3]int{3, 51, 3}

// Pages are small because each lease's transaction writes three of them, and
// the log's checksum of a page costs more than the statements (measured: 84 µs
// a lock and unlock with 4096 bytes, 51 µs with 1024).
const pageSize = 1024

// prepareDB brings the database to this layout and this boot. The caller is
// inside the gate; alone says whether no other engine has the directory open. The
// connection is the writer's: whoever closes the last one writes the log back,
// and the next pays for a new one.
func prepareDB(d dir, clk clock, boot string, alone func() (bool, error)) (*conn, error) {
	c, err := openWriting(d)
	if err != nil {
		return nil, err
	}
	err = os.Chmod(d.db(), 0o600)
	if err == nil {
		err = prepareWith(c, d, clk, boot, alone)
	}
	if err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// The log is carried over to the database after so many pages; a rarer pause to
// do it is a longer one. A log that a great commit blew up is cut again.
const (
	checkpointPages = 4000    // 4 MB
	maxIdleLog      = 8 << 20 // bytes
)

// openWriting is a connection whose commits are durable.
func openWriting(d dir) (*conn, error) {
	return openConn(d.db(), fmt.Sprintf("page_size=%d", pageSize), "journal_mode=WAL", "synchronous=FULL",
		fmt.Sprintf("wal_autocheckpoint=%d", checkpointPages), fmt.Sprintf("journal_size_limit=%d", maxIdleLog))
}

func prepareWith(c *conn, d dir, clk clock, boot string, alone func() (bool, error)) error {
	if err := checkSQLite(c); err != nil {
		return err
	}
	if err := c.script("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	err := migrate(c, d, clk, boot, alone)
	if err == nil {
		err = c.script("COMMIT")
	}
	if err != nil {
		_ = c.script("ROLLBACK") // nothing to roll back where COMMIT did it
	}
	return err
}

func migrate(c *conn, d dir, clk clock, boot string, alone func() (bool, error)) error {
	version, err := c.first("PRAGMA user_version")
	if err != nil {
		return err
	}
	switch v := version.int(0); {
	case v > layoutVersion:
		return fmt.Errorf("%w: %s has layout %d, and this program knows %d: upgrade it", engine.ErrUnusable, d, v, layoutVersion)
	case v == 0:
		if err := create(c, clk, boot); err != nil {
			return err
		}
	}
	return enterBoot(c, d, clk, boot, alone)
}

func create(c *conn, clk clock, boot string) error {
	if err := c.script(schema); err != nil {
		return err
	}
	first := nextEpoch(0, clk.wall())
	// Revisions of a directory that somebody deleted are not met again either.
	revision := clk.wall().UnixMicro()
	_, err := c.exec("INSERT INTO meta (one, boot, token, revision, base, watched) VALUES (1, ?, ?, ?, ?, 0)", boot, first, revision, revision)
	if err != nil {
		return err
	}
	return c.pragma("user_version=" + strconv.Itoa(layoutVersion))
}

// enterBoot compares the boot that the times in the database belong to with this
// one. In another boot nobody can be alive any more, unless it is another
// machine's or another time namespace's: then somebody still has the directory
// open, and the two could not compare their deadlines.
func enterBoot(c *conn, d dir, clk clock, boot string, alone func() (bool, error)) error {
	meta, err := c.first("SELECT boot, token FROM meta")
	if err != nil {
		return err
	}
	if meta == nil {
		return fmt.Errorf("%w: %s: the database has no meta row", engine.ErrUnusable, d)
	}
	if meta.text(0) == boot {
		return nil
	}
	if ok, err := alone(); err != nil {
		return err
	} else if !ok {
		return fmt.Errorf("%w: %s is in use under another clock (boot and time namespace %q, here %q): "+
			"one directory serves the processes of one host and one time namespace", engine.ErrUnusable, d, meta.text(0), boot)
	}
	return freshBoot(c, clk, boot, meta.int(1))
}

// freshBoot forgets everybody, fixed terms too, and keeps what users stored.
// Nothing says how old remembered commits are: they get another hour.
func freshBoot(c *conn, clk clock, boot string, lastToken int64) error {
	if err := c.script("DELETE FROM sessions; DELETE FROM claims; DELETE FROM watchers"); err != nil {
		return err
	}
	now := clk.mono()
	if _, err := c.exec("UPDATE commits SET at = ?", now); err != nil {
		return err
	}
	if _, err := c.exec("UPDATE maps SET emptied = ? WHERE emptied > 0", now); err != nil {
		return err
	}
	_, err := c.exec("UPDATE meta SET boot = ?, token = ?, watched = 0", boot, nextEpoch(lastToken, clk.wall()))
	return err
}

func checkSQLite(c *conn) error {
	r, err := c.first("SELECT sqlite_version()")
	if err != nil {
		return err
	}
	if olderThan(r.text(0), oldestSQLite) {
		return fmt.Errorf("%w: SQLite %s can lose commits; %d.%d.%d or newer is needed",
			engine.ErrUnusable, r.text(0), oldestSQLite[0], oldestSQLite[1], oldestSQLite[2])
	}
	return nil
}

func olderThan(version string, oldest [3]int) bool {
	parts := strings.SplitN(version, ".", 3)
	for i, want := range oldest {
		is := 0
		if i < len(parts) {
			is, _ = strconv.Atoi(parts[i])
		}
		if is != want {
			return is < want
		}
	}
	return false
}
