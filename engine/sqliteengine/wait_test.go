package sqliteengine

import (
	"os"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// rarely never comes in a test: what happens then is a bell's doing alone.
var rarely = naps{probe: time.Hour, look: time.Hour, sweep: time.Hour}

// S8: beside its own, a release may cost three transactions. Here it costs none,
// and two reads: that of the waiter who was let in, and that of the one who is
// first in line now.
func TestReleaseToOneOfAHundredWaitersCostsTwoReads(t *testing.T) {
	const waiters = 100
	dir := t.TempDir()
	var all []*Engine
	handle := func() *Session {
		e := open(t, dir, withNaps(rarely))
		all = append(all, e)
		return begin(t, e, long)
	}
	count := func() (transactions, reads int64) {
		for _, e := range all {
			transactions += e.Transactions()
			reads += e.Reads()
		}
		return transactions, reads
	}
	holder, c := handle(), mutex("n")
	acquire(t, holder, c)
	var queue []<-chan granted
	for range waiters {
		queue = append(queue, enqueue(t, handle(), mutex("n")))
	}
	settled(t, count)

	transactions, reads := count()
	release(t, holder, c)
	mustGrant(t, queue[0])
	settled(t, count)
	transactionsAfter, readsAfter := count()
	if n := transactionsAfter - transactions; n != 1 {
		t.Errorf("the release cost %d transactions, want its own alone", n)
	}
	if n := readsAfter - reads; n > 2 {
		t.Errorf("the release cost %d reads, want 2 at most", n)
	}
}

func looks(e *Engine) func() (int64, int64) {
	return func() (int64, int64) { return e.Transactions(), e.Reads() }
}

// settled waits until nothing has been counted for a while.
func settled(t *testing.T, count func() (int64, int64)) {
	t.Helper()
	for {
		a, b := count()
		time.Sleep(300 * time.Millisecond) // what must not happen has this long to happen
		if c, d := count(); a == c && b == d {
			return
		}
	}
}

func TestWaitersCostNoTransactionAndNoReadWhileNothingChanges(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir, withNaps(naps{probe: 10 * time.Millisecond, look: 20 * time.Millisecond, sweep: 30 * time.Millisecond}))
	s := begin(t, open(t, dir), long)
	acquire(t, s, mutex("n"))
	for range 3 {
		_ = enqueue(t, begin(t, e, long), mutex("n"))
	}
	settled(t, looks(e)) // many a probe, look and sweep long
}

// Nothing needs a bell: whoever waits looks by itself.
func TestLostBellIsMadeUpFor(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	holder, c := begin(t, a, long), mutex("n")
	acquire(t, holder, c)
	next := enqueue(t, begin(t, b, long), mutex("n"))
	settled(t, looks(b))
	if err := os.Remove(b.dir.bell(b.bell)); err != nil {
		t.Fatal(err)
	}
	release(t, holder, c)
	mustGrant(t, next)
}

// Somebody else's business must not put the next look off for ever.
func TestBellsThatNeverStopKeepNobodyFromLooking(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	dead := spawn(t, dir)
	dead.ask("begin %s", long)
	dead.ask("acquire n")
	next := enqueue(t, begin(t, e, long), mutex("n"))
	dead.kill()
	for {
		select {
		case g := <-next:
			if g.err != nil {
				t.Error(g.err)
			}
			return
		case <-time.After(time.Millisecond):
			e.wait.ringHere()
			e.wait.ring()
		}
	}
}

// Who is first in line after a release looks after the new holder: nobody else
// does.
func TestNewFirstWaiterLooksAfterTheNewHolder(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir, withNaps(naps{probe: 50 * time.Millisecond, look: time.Hour, sweep: time.Hour}))
	holder, c := begin(t, e, long), mutex("n")
	acquire(t, holder, c)
	second := spawn(t, dir)
	second.ask("begin %s", long)
	second.send("acquire n")
	waitFor(t, e, "n", func(l engine.Line) bool { return len(l.Waiters) == 1 })
	third := enqueue(t, begin(t, e, long), mutex("n"))
	settled(t, looks(e))
	release(t, holder, c)
	second.hear()
	second.kill()
	mustGrant(t, third)
}

// The releaser is killed between its commit and the bell.
func TestGrantWithoutABellIsFound(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir), open(t, dir)
	holder, c := begin(t, a, long), mutex("n")
	acquire(t, holder, c)
	next := enqueue(t, begin(t, b, long), mutex("n"))
	settled(t, looks(b))
	inside(t, a, func(tx *txn) error {
		if _, err := tx.remove(holder.id, c.Name, c.ID); err != nil {
			return err
		}
		err := tx.settleAll()
		clear(tx.rings)
		return err
	})
	mustGrant(t, next)
}

// The bell alone does it, in no time that the fallbacks could explain.
func TestBellWakesAcrossEngines(t *testing.T) {
	dir := t.TempDir()
	a, b := open(t, dir, withNaps(rarely)), open(t, dir, withNaps(rarely))
	holder, c := begin(t, a, long), mutex("n")
	acquire(t, holder, c)
	next := enqueue(t, begin(t, b, long), mutex("n"))
	settled(t, looks(b)) // its first look is behind it
	release(t, holder, c)
	mustGrant(t, next)
}

// A dead waiter is not let in: the line would stand until somebody noticed.
func TestReleasePassesOverADeadWaiter(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir, withNaps(rarely))
	holder, c := begin(t, e, long), mutex("n")
	acquire(t, holder, c)
	dead := spawn(t, dir)
	dead.ask("begin %s", long)
	dead.send("acquire n")
	waitFor(t, e, "n", func(l engine.Line) bool { return len(l.Waiters) == 1 })
	next := enqueue(t, begin(t, e, long), mutex("n"))
	dead.kill()
	release(t, holder, c)
	mustGrant(t, next)
}

// Whoever is told that a name is held is told the truth.
func TestTryTakesTheNameOfADeadHolder(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	s := begin(t, e, long) // before: Begin sweeps
	dead := spawn(t, dir)
	dead.ask("begin %s", long)
	dead.ask("acquire n")
	dead.kill()
	try := mutex("n")
	try.Try = true
	if _, err := s.Acquire(guarded(t), try, false); err != nil {
		t.Error(err)
	}
}

func TestWaiterIsToldAtOnceThatItsSessionEnded(t *testing.T) {
	dir := t.TempDir()
	clk := new(steppedClock)
	e := open(t, dir, withClock(clk))
	holder, short := begin(t, e, 10*long), begin(t, e, long)
	acquire(t, holder, mutex("n"))
	waiter := enqueue(t, short, mutex("n"))
	clk.monoBy.Store(int64(long))
	mustBe(t, (<-waiter).err, engine.ErrSessionEnded)
}

func TestWatchedLineShowsThatAHolderDied(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	dead := spawn(t, dir)
	dead.ask("begin %s", long)
	dead.ask("acquire n")
	waitFor(t, e, "n", func(l engine.Line) bool {
		if len(l.Holders) == 1 {
			dead.kill()
		}
		return len(l.Holders) == 0
	})
}

func TestWatchedLineShowsThatATermEnded(t *testing.T) {
	e := open(t, t.TempDir(), withNaps(rarely))
	c := mutex("n")
	c.Term = 200 * time.Millisecond
	acquire(t, begin(t, e, long), c)
	waitFor(t, e, "n", func(l engine.Line) bool { return len(l.Holders) == 0 })
}
