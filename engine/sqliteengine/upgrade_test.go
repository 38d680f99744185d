package sqliteengine

import (
	_ "embed"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

//go:embed testdata/layout1.sql
var layout1 string

// A directory as the program before left it: a name held for a term, a session
// whose process is gone but whose guardian is not, and a stored value.
type layout1Dir struct {
	dir      dir
	token    int64
	guardian *os.File
}

func newLayout1(t *testing.T) layout1Dir {
	t.Helper()
	path := t.TempDir()
	e := open(t, path) // for the folders
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	l := layout1Dir{dir: e.dir, token: nextEpoch(0, time.Now()) + 10}
	for _, db := range []database{l.dir.store(), l.dir.lines()} {
		if err := db.remove(); err != nil {
			t.Fatal(err)
		}
	}
	boot, err := bootID()
	if err != nil {
		t.Fatal(err)
	}
	now := systemClock{}.mono()
	l.guardian, err = l.dir.newLockedFile(l.dir.session(7), encodeDeadline(now+int64(long)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.guardian.Close() })
	c, err := l.dir.store().openWriting(true)
	if err != nil {
		t.Fatal(err)
	}
	claim := `INSERT INTO claims (name, seq, id, kind, shares, lim, session, bell, token, since, term, ends)
		VALUES ('%s', 1, '%s', 1, 1, 1, %d, 3, %d, %d, 0, %d);`
	err = c.script(layout1 + fmt.Sprintf("INSERT INTO meta VALUES (1, '%s', %d, 100, 100, 1);", boot, l.token) +
		"INSERT INTO sessions VALUES (7, 3); INSERT INTO watchers VALUES ('mm', 3);" +
		fmt.Sprintf(claim, "fixed", "a", 0, l.token-1, now, now+int64(long)) +
		fmt.Sprintf(claim, "guarded", "b", 7, l.token, now, 0) +
		"INSERT INTO maps VALUES (1, 'm', 100, 99, 0, 0, 1, 0); INSERT INTO entries VALUES (1, 'k', 100, CAST('kept' AS BLOB));" +
		"PRAGMA user_version=1")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	return l
}

func TestLayout1IsUpgradedAndWhatLivesGoesOn(t *testing.T) {
	l := newLayout1(t)
	e := open(t, string(l.dir))
	if names := claimed(t, e); len(names) != 2 {
		t.Errorf("%q are claimed, want the term and the guarded session's", names)
	}
	mustHold(t, e, "kept")
	s := begin(t, e, long)
	for _, held := range []string{"fixed", "guarded"} {
		try := mutex(held)
		try.Try = true
		_, err := s.Acquire(guarded(t), try, false)
		mustBe(t, err, engine.ErrHeld)
	}
	if g := acquire(t, s, mutex("n")); int64(g.Token) <= l.token {
		t.Errorf("token %d, and layout 1 had given %d", g.Token, l.token)
	}
	if err := l.guardian.Close(); err != nil {
		t.Fatal(err)
	}
	acquire(t, s, mutex("guarded"))
	put(t, e, "and goes on")
	mustHold(t, e, "and goes on")
}

func TestLayout1OfAnotherBootKeepsOnlyWhatWasStored(t *testing.T) {
	l := newLayout1(t)
	e := open(t, string(l.dir), withBoot("next"))
	if names := claimed(t, e); len(names) > 0 {
		t.Errorf("%q are claimed", names)
	}
	mustHold(t, e, "kept")
	if g := acquire(t, begin(t, e, long), mutex("n")); int64(g.Token) <= l.token {
		t.Errorf("token %d, and layout 1 had given %d", g.Token, l.token)
	}
}

// S13: both would write at once, each in its own place.
func TestLayout1IsRefusedWhileItsProgramIsThere(t *testing.T) {
	l := newLayout1(t)
	here, err := l.dir.openFile(l.dir.openLock(), 0)
	if err != nil {
		t.Fatal(err)
	}
	defer here.Close()
	if ok, err := tryLock(here, false); !ok || err != nil {
		t.Fatal(ok, err)
	}
	refused(t, string(l.dir), engine.ErrUnusable, "has layout 1 and is in use")
}

// Whoever upgrades dies after lines.db was made, and before lockstep.db says so.
func TestUpgradeThatWasCutShortIsDoneAgain(t *testing.T) {
	l := newLayout1(t)
	p := &preparation{dir: l.dir, clock: systemClock{}, boot: "any"}
	if err := p.makeLines(recorded{version: 2}, l.token+1<<epochShift); err != nil {
		t.Fatal(err)
	}
	if err := p.close(); err != nil {
		t.Fatal(err)
	}
	e := open(t, string(l.dir))
	if names := strings.Join(claimed(t, e), " "); names != "fixed guarded" {
		t.Errorf("%q are claimed", names)
	}
}
