package sqliteengine

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// What may be found as lines.db after a power cut: nobody had it synced.
var afterACut = map[string]func(t *testing.T, lines string){
	"it is not there": func(*testing.T, string) {},
	"it is empty":     func(t *testing.T, lines string) { writeFile(t, lines, nil) },
	"it is rubbish":   func(t *testing.T, lines string) { writeFile(t, lines, []byte(strings.Repeat("not a database ", 1000))) },
	"its log is older": func(t *testing.T, lines string) {
		writeFile(t, lines, nil)
		writeFile(t, lines+"-wal", bytes.Repeat([]byte{0x5a}, 4096))
	},
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	writeFile(t, to, b)
}

// change edits a database that nobody has open.
func change(t testing.TB, db database, sql string) {
	t.Helper()
	c, err := db.openWriting(false)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.script(sql); err != nil {
		t.Fatal(err)
	}
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
}

// closed is a directory in which somebody had a name, and somebody still has one
// for a term, and stored a value. It says the last token given.
func closed(t *testing.T) (dir, engine.Token) {
	t.Helper()
	path := t.TempDir()
	e, err := Open(guarded(t), path)
	if err != nil {
		t.Fatal(err)
	}
	s := begin(t, e, long)
	fixed := mutex("fixed")
	fixed.Term = long
	acquire(t, s, fixed)
	last := acquire(t, s, mutex("n"))
	put(t, e, "kept")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	return e.dir, last.Token
}

func put(t testing.TB, e *Engine, value string) {
	t.Helper()
	_, err := e.Store().Commit(guarded(t), "m", engine.Tx{Put: []engine.Entry{{Key: "k", Value: []byte(value)}}})
	if err != nil {
		t.Fatal(err)
	}
}

func mustHold(t testing.TB, e *Engine, value string) {
	t.Helper()
	if entry, err := e.Store().Get(guarded(t), "m", "k"); err != nil || string(entry.Value) != value {
		t.Errorf("the map has %q, %v; want %q", entry.Value, err, value)
	}
}

func claimed(t testing.TB, e *Engine) (names []string) {
	t.Helper()
	for name, err := range e.Names(guarded(t), "") {
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// In the same boot a closed directory goes on as it was.
func TestWhatHasATermOutlivesEveryProcess(t *testing.T) {
	d, last := closed(t)
	e := open(t, string(d))
	if names := claimed(t, e); len(names) != 1 || names[0] != "fixed" {
		t.Errorf("%q are claimed, want the fixed one", names)
	}
	if g := acquire(t, begin(t, e, long), mutex("n")); g.Token <= last || int64(g.Token)>>epochShift != int64(last)>>epochShift {
		t.Errorf("token %d, after %d of the same epoch", g.Token, last)
	}
}

// S2, and nothing of the other boot is looked at: SQLite would say that the file
// is damaged.
func TestLinesOfAnotherBootAreNeverOpened(t *testing.T) {
	for what, leave := range afterACut {
		d, last := closed(t)
		if err := d.lines().remove(); err != nil {
			t.Fatal(err)
		}
		leave(t, d.lines().path)
		e := open(t, string(d), withBoot("next"))
		if names := claimed(t, e); len(names) > 0 {
			t.Errorf("%s: %q are claimed in another boot", what, names)
		}
		if g := acquire(t, begin(t, e, long), mutex("n")); g.Token <= last {
			t.Errorf("%s: token %d after %d", what, g.Token, last)
		}
		mustHold(t, e, "kept")
	}
}

// Whoever dies between making lines.db and recording it leaves one that has
// another epoch, or none yet. Nobody was granted anything in it.
func TestLinesThatWereNotRecordedAreMadeAnew(t *testing.T) {
	for what, leave := range map[string]func(d dir){
		"removed":  func(d dir) { _ = d.lines().remove() },
		"half":     func(d dir) { _ = d.lines().remove(); writeFile(t, d.lines().path, nil) },
		"no row":   func(d dir) { change(t, d.lines(), "DELETE FROM claims WHERE name = ''") },
		"of other": func(d dir) { change(t, d.lines(), "UPDATE claims SET token = token + (1 << 40) WHERE name = ''") },
		"older":    func(d dir) { change(t, d.lines(), "UPDATE claims SET token = token - (1 << 40) WHERE name = ''") },
	} {
		d, last := closed(t)
		leave(d)
		e := open(t, string(d))
		if names := claimed(t, e); len(names) > 0 {
			t.Errorf("%s: %q are claimed", what, names)
		}
		if g := acquire(t, begin(t, e, long), mutex("n")); int64(g.Token)>>epochShift <= int64(last)>>epochShift {
			t.Errorf("%s: token %d, not of a later epoch than %d", what, g.Token, last)
		}
		mustHold(t, e, "kept")
	}
}

// The epoch is recorded before anybody can be granted anything: whoever opens
// next reads it there, whatever became of lines.db.
func TestEpochIsRecordedBeforeTheFirstGrant(t *testing.T) {
	d, _ := closed(t)
	e := open(t, string(d), withBoot("next"))
	g := acquire(t, begin(t, e, long), mutex("n"))
	insideStore(t, e, func(tx *txn) error {
		r, err := tx.first("SELECT token, boot FROM meta")
		if err == nil && (r.int(0)>>epochShift != int64(g.Token)>>epochShift || r.text(1) != "next") {
			t.Errorf("lockstep.db says %d of %q, and %d was granted", r.int(0), r.text(1), g.Token)
		}
		return err
	})
}

// The damage is not a power cut's, as it is the same boot: somebody may want to
// know. Without the file everything stored is there.
func TestDamagedLinesOfThisBootAreSaidAndCanBeRemoved(t *testing.T) {
	d, last := closed(t)
	writeFile(t, d.lines().path, []byte(strings.Repeat("not a database ", 1000)))
	refused(t, string(d), engine.ErrUnusable, "damaged")
	refused(t, string(d), engine.ErrUnusable, "remove lines.db")
	if err := d.lines().remove(); err != nil {
		t.Fatal(err)
	}
	e := open(t, string(d))
	mustHold(t, e, "kept")
	if g := acquire(t, begin(t, e, long), mutex("n")); g.Token <= last {
		t.Errorf("token %d after %d", g.Token, last)
	}
}

// A commit waits for the disk, and for whoever commits: no lock waits for it.
func TestWhoeverCommitsHoldsUpNoLock(t *testing.T) {
	path := t.TempDir()
	e, other := open(t, path), open(t, path)
	s := begin(t, e, long)
	if err := other.commits.gate.enter(nil); err != nil {
		t.Fatal(err)
	}
	c := mutex("n")
	acquire(t, s, c)
	release(t, s, c)
	if err := other.commits.gate.leave(); err != nil {
		t.Fatal(err)
	}
	put(t, e, "v")
}

// The bell alone tells of a commit.
func TestCommitRingsThoseWhoWatchTheMap(t *testing.T) {
	path := t.TempDir()
	a, b := open(t, path, withNaps(rarely)), open(t, path, withNaps(rarely))
	told := watching(t, b)
	put(t, a, "second")
	told()
}

// Whoever commits is killed between the commit and the bell.
func TestCommitWithoutABellIsFound(t *testing.T) {
	path := t.TempDir()
	a, b := open(t, path), open(t, path)
	told := watching(t, b)
	insideStore(t, a, func(tx *txn) error {
		_, err := tx.commit("m", engine.Tx{Put: []engine.Entry{{Key: "k", Value: []byte("second")}}})
		tx.after = nil
		return err
	})
	told()
}

// watching has an engine watch the map m. told waits until somebody says that it
// changed: the watch's own look, every third of engine.Stale, is not meant.
func watching(t *testing.T, e *Engine) (told func()) {
	t.Helper()
	w, err := e.wait.watch(guarded(t), mapTopic("m"))
	if err != nil {
		t.Fatal(err)
	}
	for quiet := false; !quiet; { // its first looks are behind it
		select {
		case <-w.rung:
		case <-time.After(2 * defaultNaps.look):
			quiet = true
		}
	}
	return func() {
		t.Helper()
		if err := w.sleep(guarded(t), 0); err != nil {
			t.Fatal(err)
		}
		e.wait.unwatch(guarded(t), w)
	}
}

// lockstep.db alone, or lines.db alone, is left when somebody cleans up.
func TestStoreThatWasRemovedTakesTheLinesAlong(t *testing.T) {
	d, last := closed(t)
	if err := d.store().remove(); err != nil {
		t.Fatal(err)
	}
	clk := new(steppedClock)
	clk.wallBy.Store(int64(time.Second)) // as far as the clock moved on
	e := open(t, string(d), withClock(clk))
	if names := claimed(t, e); len(names) > 0 {
		t.Errorf("%q are claimed", names)
	}
	if g := acquire(t, begin(t, e, long), mutex("n")); g.Token <= last {
		t.Errorf("token %d after %d", g.Token, last)
	}
	if _, err := os.Stat(filepath.Join(string(d), "lockstep.db")); err != nil {
		t.Error(err)
	}
}
