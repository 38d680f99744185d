package sqliteengine

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// layoutVersion is the layout of both databases and of the files beside them;
// lockstep.db's decides. It rises when a process of the version before could
// misread what this one writes; what an older one can live with (a new table, a
// new index) does not raise it.
const layoutVersion = 2

// oldestSQLite is the first that cannot lose commits when a log is reset.
var oldestSQLite = [3]int{3, 51, 3}

// preparation brings a directory to this layout and this boot. Its caller is
// inside the gate: nobody else opens.
//
// lines.db is believed if lockstep.db says so: that names the boot it is of, and
// where its tokens begin. A power cut can leave lines.db as anything at all, also
// as an older self that names the present boot, but with the power goes the boot,
// and what lockstep.db says is durable. So where the boot is another, lines.db is
// removed before SQLite sees it.
//
// It is made anew in this order: remove, make, and then record boot and token in
// lockstep.db. Whoever dies on the way leaves a lines.db that is not believed,
// and in which nobody was granted anything: grants come after the record. Every
// new one has a greater epoch, also in the same boot, where somebody removed it:
// its tokens are above all that the one before can have given (S2).
type preparation struct {
	dir   dir
	clock clock
	boot  string
	alone func() (bool, error) // whether nobody else has the directory open

	// The writers' connections: whoever closes the last one writes the log back,
	// and the next pays for a new one.
	store, lines *conn
}

func (p *preparation) run() error {
	err := p.open()
	if err != nil {
		err = errors.Join(p.dir.store().explain(err), p.close())
	}
	return err
}

func (p *preparation) close() error {
	var err error
	for _, c := range []*conn{p.store, p.lines} {
		if c != nil {
			err = errors.Join(err, c.close())
		}
	}
	p.store, p.lines = nil, nil
	return err
}

func (p *preparation) open() (err error) {
	if p.store, err = openPrivate(p.dir.store(), true); err != nil {
		return err
	}
	if err := checkSQLite(p.store); err != nil {
		return err
	}
	is, err := p.read()
	if err != nil {
		return err
	}
	if is.version == layoutVersion && is.boot == p.boot {
		if believed, err := p.join(is); believed || err != nil {
			return p.dir.lines().explain(err)
		}
	}
	if err := p.beAlone(is); err != nil {
		return err
	}
	return p.store.transaction(func() error { return p.begin(is) })
}

// openPrivate is openWriting, and the file is nobody else's.
func openPrivate(db database, create bool) (*conn, error) {
	c, err := db.openWriting(create)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(db.path, 0o600); err != nil {
		return nil, errors.Join(err, c.close())
	}
	return c, nil
}

// recorded is what lockstep.db says.
type recorded struct {
	version int64 // 0: it is new
	boot    string
	token   int64
}

func (p *preparation) read() (recorded, error) {
	version, err := layoutOf(p.store, p.dir.store())
	if err != nil || version == 0 {
		return recorded{}, err
	}
	meta, err := p.store.first("SELECT boot, token FROM meta")
	if err != nil {
		return recorded{}, err
	}
	if meta == nil {
		return recorded{}, fmt.Errorf("%w: %s: the database has no meta row", engine.ErrUnusable, p.dir.store())
	}
	return recorded{version, meta.text(0), meta.int(1)}, nil
}

// layoutOf refuses a layout that only a newer program knows (S13).
func layoutOf(c *conn, db database) (int64, error) {
	r, err := c.first("PRAGMA user_version")
	if err != nil {
		return 0, err
	}
	v := r.int(0)
	if v > layoutVersion {
		return 0, fmt.Errorf("%w: %s has layout %d, and this program knows %d: upgrade it", engine.ErrUnusable, db, v, layoutVersion)
	}
	return v, nil
}

// join opens the lines.db that is there, of this boot, unless it is not the one
// that was recorded: then somebody died while it was made, or put it there.
func (p *preparation) join(is recorded) (believed bool, err error) {
	db := p.dir.lines()
	if !db.isThere() {
		return false, nil
	}
	c, err := openPrivate(db, false)
	if err != nil {
		return false, err
	}
	if believed, err = belongs(c, db, is.token); believed {
		p.lines = c
		return true, nil
	}
	return false, errors.Join(err, c.close())
}

// belongs compares epochs: the count goes on, the epoch does not.
func belongs(c *conn, db database, token int64) (bool, error) {
	version, err := layoutOf(c, db)
	if err != nil || version == 0 {
		return false, err
	}
	own, err := c.first("SELECT token FROM claims WHERE name = ''")
	if own == nil || err != nil {
		return false, err
	}
	return own.int(0)>>epochShift == token>>epochShift, nil
}

// beAlone refuses to change a directory under those who have it open.
func (p *preparation) beAlone(is recorded) error {
	ok, err := p.alone()
	if ok || err != nil {
		return err
	}
	switch {
	case is.version == 0:
		return fmt.Errorf("%w: %s was removed while processes have the directory open: stop them", engine.ErrUnusable, p.dir.store())
	case is.boot != p.boot:
		// In another boot nobody can be alive, unless it is another machine's or
		// another time namespace's: the two could not compare their deadlines.
		return fmt.Errorf("%w: %s is in use under another clock (boot and time namespace %q, here %q): "+
			"one directory serves the processes of one host and one time namespace", engine.ErrUnusable, p.dir, is.boot, p.boot)
	case is.version < layoutVersion:
		return fmt.Errorf("%w: %s has layout %d and is in use by a program that knows no newer one: "+
			"stop every process that uses it, and it is brought to layout %d", engine.ErrUnusable, p.dir, is.version, layoutVersion)
	}
	return fmt.Errorf("%w: %s was removed or replaced while processes have the directory open: stop them", engine.ErrUnusable, p.dir.lines())
}

// begin makes lines.db, and what is missing in lockstep.db, whose transaction is
// open.
func (p *preparation) begin(is recorded) error {
	token := nextEpoch(is.token, p.clock.wall())
	if err := p.makeLines(is, token); err != nil {
		return p.dir.lines().explain(err)
	}
	var err error
	switch is.version {
	case 0:
		err = createStore(p.store, p.clock)
	case 1:
		err = upgradeStore(p.store)
	}
	if err == nil && is.boot != p.boot {
		err = forgetTimes(p.store, p.clock.mono())
	}
	if err != nil {
		return err
	}
	if _, err := p.store.exec("UPDATE meta SET boot = ?, token = ?", p.boot, token); err != nil {
		return err
	}
	return p.store.setLayout()
}

func (p *preparation) makeLines(is recorded, token int64) (err error) {
	db := p.dir.lines()
	if err := db.remove(); err != nil {
		return p.dir.explainFile(err)
	}
	if p.lines, err = openPrivate(db, true); err != nil {
		return err
	}
	inherits := is.version == 1 && is.boot == p.boot
	if inherits {
		if _, err := p.lines.exec("ATTACH ? AS old", p.dir.store().path); err != nil {
			return err
		}
	}
	err = p.lines.transaction(func() error {
		if err := p.lines.script(db.schema); err != nil {
			return err
		}
		_, err := p.lines.exec(`INSERT INTO claims (name, seq, id, kind, shares, lim, session, bell, token, since, term, ends)
			VALUES ('', 0, '', 0, 0, 0, -1, 0, ?, 0, 0, 0)`, token)
		if err != nil {
			return err
		}
		if inherits {
			if err := inheritLines(p.lines); err != nil {
				return err
			}
		}
		return p.lines.setLayout()
	})
	if err != nil || !inherits {
		return err
	}
	return p.lines.script("DETACH old")
}

func createStore(c *conn, clk clock) error {
	if err := c.script(storeSchema); err != nil {
		return err
	}
	// Revisions of a directory that somebody deleted are not met again.
	revision := clk.wall().UnixMicro()
	_, err := c.exec("INSERT INTO meta (one, boot, token, revision, base) VALUES (1, '', 0, ?, ?)", revision, revision)
	return err
}

// forgetTimes begins anew what was counted on another boot's clock. Nothing says
// how old remembered commits are: they get another hour.
func forgetTimes(c *conn, now int64) error {
	if _, err := c.exec("UPDATE commits SET at = ?", now); err != nil {
		return err
	}
	_, err := c.exec("UPDATE maps SET emptied = ? WHERE emptied > 0", now)
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
