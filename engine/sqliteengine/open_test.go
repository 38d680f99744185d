package sqliteengine

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
)

// refused is an Open that must fail, with an error that names the cause.
func refused(t *testing.T, dir string, want error, says string) {
	t.Helper()
	e, err := Open(guarded(t), dir)
	if err == nil {
		_ = e.Close()
		t.Fatalf("%s was opened", dir)
	}
	mustBe(t, err, want)
	if !engine.Definite(err) {
		t.Error("the error leaves the outcome open")
	}
	if !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), dir) {
		t.Errorf("%q does not say %q and the directory", err, says)
	}
	if strings.Contains(err.Error(), "\n") {
		t.Errorf("%q is more than one line", err)
	}
}

func TestOpenRefusesAPathThatIsAFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, file, engine.ErrInvalid, "not a directory")
	refused(t, filepath.Join(file, "below"), engine.ErrInvalid, "not a directory")
}

func TestOpenRefusesADirectoryOfSomethingElse(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.tex"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, dir, engine.ErrInvalid, "thesis.tex")
}

func TestOpenRefusesADamagedDatabase(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "lockstep.db"), []byte(strings.Repeat("not a database ", 1000)))
	refused(t, dir, engine.ErrUnusable, "damaged")
}

// The header is whole, and what comes after it is not.
func TestDamageThatIsMetLaterIsSaidToo(t *testing.T) {
	for _, name := range []string{storeName, linesName} {
		d, _ := closed(t)
		db := filepath.Join(string(d), name)
		b, err := os.ReadFile(db)
		if err != nil {
			t.Fatal(err)
		}
		for i := pageSize; i < len(b); i++ {
			b[i] = 0xa5
		}
		writeFile(t, db, b)
		e, err := Open(guarded(t), string(d))
		if err == nil {
			_, err = e.Begin(guarded(t), engine.SessionOptions{TTL: long})
			if name == storeName {
				_, err = e.Store().Get(guarded(t), "m", "k")
			}
			_ = e.Close()
		}
		mustBe(t, err, engine.ErrUnusable)
		if !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// S13: what a neighbour in version adds is not in the way, and what this program
// could misread makes it refuse.
func TestNeighboursInLayoutWorkTogetherOrRefuse(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	inside(t, e, func(tx *txn) error {
		return tx.script(`CREATE TABLE later (x);
			ALTER TABLE claims ADD COLUMN later TEXT;
			ALTER TABLE sessions ADD COLUMN later INTEGER NOT NULL DEFAULT 7`)
	})
	insideStore(t, e, func(tx *txn) error {
		return tx.script(`CREATE TABLE later (x);
			ALTER TABLE maps ADD COLUMN later TEXT;
			ALTER TABLE meta ADD COLUMN later INTEGER NOT NULL DEFAULT 7`)
	})
	same := open(t, dir)
	s := begin(t, same, long)
	c := mutex("n")
	acquire(t, s, c)
	release(t, s, c)
	put(t, same, "v")

	newer := func(tx *txn) error { return tx.pragma("user_version=3") }
	inside(t, e, newer)
	refused(t, dir, engine.ErrUnusable, "layout 3")
	inside(t, e, func(tx *txn) error { return tx.setLayout() })
	insideStore(t, e, newer)
	refused(t, dir, engine.ErrUnusable, "layout 3")
}

func TestOpenObeysItsContextWhileSomebodyIsInTheGate(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	if err := e.writer.gate.enter(nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := Open(ctx, dir)
		failed <- err
	}()
	cancel()
	err := <-failed
	mustBe(t, err, context.Canceled)
	if err := e.writer.gate.leave(); err != nil {
		t.Fatal(err)
	}
}

func TestNothingIsLeftAfterClose(t *testing.T) {
	dir := t.TempDir()
	before := ours()
	e := open(t, dir)
	s := begin(t, e, long)
	c := mutex("n")
	acquire(t, s, c)
	waiter := enqueue(t, s, mutex("n"))
	ended := make(chan error, 1)
	go func() {
		for _, err := range e.Store().Watch(context.WithoutCancel(t.Context()), "m", 0) {
			if err != nil {
				ended <- err
			}
		}
	}()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	mustBe(t, (<-waiter).err, engine.ErrClosed)
	mustBe(t, <-ended, engine.ErrClosed)
	if n := ours(); n > before {
		t.Errorf("%d goroutines of the engine outlive it", n-before)
	}
	for _, folder := range []string{e.dir.bells(), e.dir.sessions()} {
		if ids, err := files(folder); err != nil || len(ids) > 0 {
			t.Errorf("%s has %x, %v", folder, ids, err)
		}
	}
	_, err := s.Acquire(guarded(t), mutex("n"), false)
	mustBe(t, err, engine.ErrClosed)
	if err := e.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestBeginSweepsWhatTheDeadLeft(t *testing.T) {
	dir := t.TempDir()
	dead := spawn(t, dir)
	dead.ask("begin %s", long)
	dead.ask("acquire n")
	dead.ask("acquire m")
	dead.kill()

	e := open(t, dir)
	s := begin(t, e, long)
	for folder, mine := range map[string]int64{e.dir.sessions(): s.id, e.dir.bells(): e.bell} {
		if ids, err := files(folder); err != nil || len(ids) != 1 || ids[0] != mine {
			t.Errorf("%s has %x, %v; want only %x", folder, ids, err, mine)
		}
	}
	inside(t, e, func(tx *txn) error {
		r, err := tx.first("SELECT (SELECT count(*) FROM sessions), (SELECT count(*) FROM claims WHERE name > '')")
		if err == nil && (r.int(0) != 1 || r.int(1) != 0) {
			t.Errorf("%d sessions and %d claims, want the one session", r.int(0), r.int(1))
		}
		return err
	})
}

func TestOldSQLiteIsRefused(t *testing.T) {
	for version, old := range map[string]bool{
		"3.51.2": true, "3.9.9": true, "2.99.99": true, "3": true, "": true,
		"3.51.3": false, "3.52.0": false, "4.0": false,
	} {
		if olderThan(version, oldestSQLite) != old {
			t.Errorf("%q: too old is %v, want %v", version, !old, old)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, bad := range []engine.Target{
		{Scheme: "file"},
		{Scheme: "file", Path: "/"},
		{Scheme: "file", Hosts: []string{"host"}, Path: "/dir"},
		{Scheme: "file", User: "me", Path: "/dir"},
		{Scheme: "file", Path: "/dir", Params: map[string]string{"ttl": "3s"}},
	} {
		_, err := Driver.Open(guarded(t), bad)
		if !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%+v: %v, want ErrInvalid", bad, err)
		}
	}
	t.Chdir(t.TempDir())
	e, err := Driver.Open(guarded(t), engine.Target{Scheme: "file", Path: "here"})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := os.Stat(filepath.Join("here", "lockstep.db")); err != nil {
		t.Error(err)
	}
}
