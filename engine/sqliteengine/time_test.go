package sqliteengine

import (
	"crypto/rand"
	"fmt"
	"testing"
	"time"

	lib "modernc.org/sqlite/lib"

	"github.com/lockstep-go/lockstep/engine"
)

const day = 24 * time.Hour

func TestStepOfTheWallClockEndsNoSession(t *testing.T) {
	for _, step := range []time.Duration{day, -day} {
		clk := new(steppedClock)
		dir := t.TempDir()
		e := open(t, dir, withClock(clk))
		s := begin(t, e, time.Minute)
		c := mutex("n")
		acquire(t, s, c)
		clk.wallBy.Store(int64(step))

		if r, err := s.Renew(guarded(t), []*engine.Claim{c}); err != nil || len(r.Lost) > 0 {
			t.Errorf("renew after a step of %v: %+v, %v", step, r, err)
		}
		other := open(t, dir, withClock(clk))
		if line, err := other.Line(guarded(t), "n"); err != nil || len(line.Holders) != 1 || line.Holders[0].Age > time.Hour {
			t.Errorf("the line after a step of %v: %+v, %v", step, line, err)
		}
	}
}

func TestStepOfTheWallClockProlongsNoSession(t *testing.T) {
	for _, step := range []time.Duration{day, -day} {
		clk := new(steppedClock)
		e := open(t, t.TempDir(), withClock(clk))
		s, next := begin(t, e, time.Minute), begin(t, e, day)
		acquire(t, s, mutex("n"))
		clk.wallBy.Store(int64(step))
		clk.monoBy.Store(int64(time.Minute))

		acquire(t, next, mutex("n"))
		_, err := s.Renew(guarded(t), nil)
		mustBe(t, err, engine.ErrSessionEnded)
	}
}

// Nobody has noticed yet that the TTL has passed: the session is over all the
// same, for itself and for those who look.
func TestSessionIsOverAtItsDeadlineWhoeverNotices(t *testing.T) {
	clk := new(steppedClock)
	e := open(t, t.TempDir(), withClock(clk))
	s := begin(t, e, time.Minute)
	acquire(t, s, mutex("n"))
	clk.monoBy.Store(int64(time.Minute))

	if line, err := e.Line(guarded(t), "n"); err != nil || len(line.Holders) > 0 {
		t.Errorf("the line shows the dead: %+v, %v", line, err)
	}
	for name, err := range e.Names(guarded(t), "") {
		t.Errorf("Names shows %q, %v", name, err)
	}
	_, err := s.Acquire(guarded(t), mutex("other"), false)
	mustBe(t, err, engine.ErrSessionEnded)
	_, err = s.Renew(guarded(t), nil)
	mustBe(t, err, engine.ErrSessionEnded)
}

// hookedClock calls back when it is read.
type hookedClock struct {
	steppedClock
	read func(n int) // the how manieth reading
	n    int
}

func (c *hookedClock) mono() int64 {
	if c.read != nil {
		c.n++
		c.read(c.n)
	}
	return c.steppedClock.mono()
}

// The process is stopped between the write of the new deadline and its look at
// the clock. A checker may have seen the old deadline pass: the renewal is none,
// and the deadline that it wrote does not stand.
func TestRenewalThatWritesAfterTheOldDeadlineIsNone(t *testing.T) {
	for stopped := 1; stopped <= 3; stopped++ {
		clk := new(hookedClock)
		e := open(t, t.TempDir(), withClock(clk))
		s := begin(t, e, time.Minute)
		clk.read = func(n int) {
			if n == stopped {
				clk.monoBy.Store(int64(2 * time.Minute))
			}
		}
		_, err := s.Renew(guarded(t), nil)
		clk.read = nil
		mustBe(t, err, engine.ErrSessionEnded)
		if stopped > 1 && e.isAlive(s.id) { // the first reading is that of the call
			t.Errorf("stopped at reading %d: the session ended, and its file says that it lives", stopped)
		}
	}
}

// A renewal that was held up begins its TTL where it was called.
func TestDeadlineRunsFromTheCallOfRenew(t *testing.T) {
	clk := new(hookedClock)
	e := open(t, t.TempDir(), withClock(clk))
	s := begin(t, e, time.Minute)
	called := clk.mono()
	clk.read = func(n int) {
		if n == 2 {
			clk.monoBy.Store(int64(30 * time.Second))
		}
	}
	if _, err := s.Renew(guarded(t), nil); err != nil {
		t.Fatal(err)
	}
	clk.read = nil
	if s.deadline > called+int64(time.Minute+20*time.Second) {
		t.Errorf("the deadline is %v after the call, with a TTL of 1 m", time.Duration(s.deadline-called))
	}
}

func TestTermEndsOnTheMonotonicClock(t *testing.T) {
	clk := new(steppedClock)
	e := open(t, t.TempDir(), withClock(clk))
	s := begin(t, e, day)
	fixed := mutex("n")
	fixed.Term = time.Hour
	g := acquire(t, s, fixed)
	if left := time.Until(g.Until); left > time.Hour || left < 50*time.Minute {
		t.Errorf("Until is in %v, the term is 1 h", left)
	}
	if err := s.End(guarded(t), nil); err != nil {
		t.Fatal(err)
	}
	try := mutex("n")
	try.Try = true
	next := begin(t, e, day)
	_, err := next.Acquire(guarded(t), try, false)
	mustBe(t, err, engine.ErrHeld)

	clk.monoBy.Store(int64(time.Hour))
	if _, err := next.Acquire(guarded(t), try, false); err != nil {
		t.Errorf("after the term: %v", err)
	}
}

func TestRebootEndsEveryClaimAndKeepsMaps(t *testing.T) {
	dir := t.TempDir()
	before := open(t, dir)
	fixed := mutex("fixed")
	fixed.Term = time.Hour
	s := begin(t, before, day)
	last := acquire(t, s, fixed)
	acquire(t, s, mutex("n"))
	revision, err := before.Store().Commit(guarded(t), "m", engine.Tx{ID: "once", Put: []engine.Entry{{Key: "k", Value: []byte("v")}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := before.Close(); err != nil {
		t.Fatal(err)
	}

	// The monotonic clock begins again.
	clk := new(steppedClock)
	clk.monoBy.Store(time.Second.Nanoseconds() - systemClock{}.mono())
	after := open(t, dir, withBoot("next"), withClock(clk))
	for name := range after.Names(guarded(t), "") {
		t.Errorf("%q is still claimed after a reboot", name)
	}
	if g := acquire(t, begin(t, after, day), mutex("fixed")); g.Token <= last.Token {
		t.Errorf("token %d after the reboot, %d before", g.Token, last.Token)
	}
	if e, err := after.Store().Get(guarded(t), "m", "k"); err != nil || string(e.Value) != "v" || e.Revision != revision {
		t.Errorf("the entry after the reboot: %+v, %v", e, err)
	}
	again, err := after.Store().Commit(guarded(t), "m", engine.Tx{ID: "once", Put: []engine.Entry{{Key: "k", Value: []byte("w")}}})
	if err != nil || again != revision {
		t.Errorf("the same commit after the reboot: %d, %v; want %d", again, err, revision)
	}
}

func TestCommitIsRememberedForAnHour(t *testing.T) {
	clk := new(steppedClock)
	e := open(t, t.TempDir(), withClock(clk))
	commit := func() engine.Revision {
		t.Helper()
		r, err := e.Store().Commit(guarded(t), "m", engine.Tx{ID: "x", Put: []engine.Entry{{Key: "k", Value: []byte("v")}}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	first := commit()
	clk.monoBy.Store(int64(59 * time.Minute))
	if r := commit(); r != first {
		t.Errorf("after 59 m: revision %d, want %d as then", r, first)
	}
	clk.monoBy.Store(int64(61 * time.Minute))
	if r := commit(); r <= first {
		t.Errorf("after 61 m: revision %d, want a new one", r)
	}
}

// identified commits n times under ids of their own.
func identified(t *testing.T, e *Engine, prefix string, n int) {
	t.Helper()
	for i := range n {
		tx := engine.Tx{ID: fmt.Sprint(prefix, i), Put: []engine.Entry{{Key: "other"}}}
		if _, err := e.Store().Commit(guarded(t), "m", tx); err != nil {
			t.Fatal(err)
		}
	}
}

// S4, S12: each commit forgets some that are old, and no others: not those of this
// hour, however many there are, and no fewer than are added.
func TestCommitsAreForgottenAfterTheirHourAndNotBefore(t *testing.T) {
	const first = 20
	clk := new(steppedClock)
	e := open(t, t.TempDir(), withClock(clk))
	remembered := func() (n int64) {
		insideStore(t, e, func(tx *txn) error {
			row, err := tx.first("SELECT count(*) FROM commits")
			if err == nil {
				n = row.int(0)
			}
			return err
		})
		return n
	}
	identified(t, e, "first ", first)
	clk.monoBy.Store(int64(59 * time.Minute))
	identified(t, e, "second ", first)
	if n := remembered(); n != 2*first {
		t.Errorf("%d commits are remembered within the hour; want %d", n, 2*first)
	}
	clk.monoBy.Store(int64(61 * time.Minute))
	identified(t, e, "third ", first/4)
	if n := remembered(); n != first+first/4 {
		t.Errorf("%d commits are remembered after the hour of the first %d; want %d", n, first, first+first/4)
	}
}

// Its row is still there, behind older ones.
func TestAnIDThatIsOldIsUsedAgain(t *testing.T) {
	clk := new(steppedClock)
	e := open(t, t.TempDir(), withClock(clk))
	commit := func() engine.Revision {
		t.Helper()
		r, err := e.Store().Commit(guarded(t), "m", engine.Tx{ID: "x", Put: []engine.Entry{{Key: "k"}}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	identified(t, e, "older ", 20)
	first := commit()
	clk.monoBy.Store(int64(61 * time.Minute))
	again := commit()
	if again <= first {
		t.Errorf("after 61 m: revision %d, want a new one", again)
	}
	clk.monoBy.Store(int64(2 * 59 * time.Minute))
	identified(t, e, "newer ", 20)
	if r := commit(); r != again {
		t.Errorf("57 m later: revision %d, want %d as then", r, again)
	}
}

// What is remembered costs a commit nothing: it was 130 a second with 82,000.
func TestACommitLooksAtFewOfThoseThatAreRemembered(t *testing.T) {
	e := open(t, t.TempDir())
	steps := func() (n int) {
		identified(t, e, "warm ", 1) // its statements are prepared
		insideStore(t, e, func(tx *txn) error { tx.steps(); return nil })
		identified(t, e, rand.Text(), 1)
		insideStore(t, e, func(tx *txn) error { n = tx.steps(); return nil })
		return n
	}
	few := steps()
	insideStore(t, e, func(tx *txn) error {
		_, err := tx.exec(`INSERT INTO commits (map, id, revision, at)
			WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) SELECT 'm', 'old ' || i, 1, ? FROM n`, tx.now)
		return err
	})
	if many := steps(); many > 2*few {
		t.Errorf("a commit takes %d steps beside 2,000 others, and %d beside few", many, few)
	}
}

// steps is what SQLite's machine has done for this connection since the last time.
func (c *conn) steps() (n int) {
	for _, s := range c.stmts {
		n += int(lib.Xsqlite3_stmt_status(c.tls, s, lib.SQLITE_STMTSTATUS_VM_STEP, 1))
	}
	return n
}

// S12: what is empty costs nothing after an hour, and who watched it is shown
// everything that comes after.
func TestEmptyMapIsForgottenAndItsWatcherResyncs(t *testing.T) {
	clk := new(steppedClock)
	e := open(t, t.TempDir(), withClock(clk))
	commit := func(m string, entry engine.Entry) engine.Revision {
		t.Helper()
		r, err := e.Store().Commit(guarded(t), m, engine.Tx{Put: []engine.Entry{entry}})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	seen := commit("m", engine.Entry{Key: "k", Value: []byte("v")})
	commit("m", engine.Entry{Key: "k", Deleted: true})
	clk.monoBy.Store(int64(61 * time.Minute))
	commit("other", engine.Entry{Key: "k"})
	insideStore(t, e, func(tx *txn) error {
		row, err := tx.first("SELECT count(*) FROM maps WHERE name = 'm'")
		if err == nil && row.int(0) != 0 {
			t.Error("the empty map is still there after an hour")
		}
		return err
	})
	for event, err := range e.Store().Watch(guarded(t), "m", seen) {
		if err != nil || !event.Full || len(event.Entries) > 0 {
			t.Errorf("the watcher of a forgotten map sees %+v, %v", event, err)
		}
		break
	}
}
