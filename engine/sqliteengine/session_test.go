package sqliteengine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

func TestRenewalOfTenThousandClaimsIsNoTransactionAndOneRead(t *testing.T) {
	const n = 10_000
	e := open(t, t.TempDir())
	s := begin(t, e, long)
	list := make([]*engine.Claim, n)
	var wg sync.WaitGroup
	for part := range 20 {
		wg.Go(func() {
			for i := part; i < n; i += 20 {
				list[i] = mutex(fmt.Sprint("n", i))
				if _, err := s.Acquire(t.Context(), list[i], false); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	transactions, reads := e.Transactions(), e.Reads()
	began := time.Now()
	r, err := s.Renew(guarded(t), list)
	t.Logf("renewed in %v", time.Since(began))
	if err != nil || len(r.Lost) > 0 {
		t.Fatalf("%d lost, %v", len(r.Lost), err)
	}
	if e.Transactions() != transactions || e.Reads() != reads+1 {
		t.Errorf("%d transactions and %d reads, want none and one", e.Transactions()-transactions, e.Reads()-reads)
	}
	if err := s.End(guarded(t), nil); err != nil {
		t.Fatal(err)
	}
	if e.Transactions() != transactions+1 {
		t.Errorf("ending took %d transactions, want one", e.Transactions()-transactions)
	}
}

// S4: whoever leaves in the middle of a transaction leaves a line in order
// behind, and a connection that works.
func TestLeavingAtAnyMomentBreaksNothing(t *testing.T) {
	e := open(t, t.TempDir())
	s := begin(t, e, long)
	for i := range 200 {
		ctx, cancel := context.WithCancel(t.Context())
		c := mutex("n")
		go func() {
			for range i * 20 { // some work, not some time
				_ = ctx.Err()
			}
			cancel()
		}()
		g, err := s.Acquire(ctx, c, false)
		cancel()
		switch {
		case err == nil && g.Token == 0:
			t.Fatal("a grant without a token")
		case err != nil && !errors.Is(err, context.Canceled):
			t.Fatal(err)
		}
		if _, err := s.Release(guarded(t), c); err != nil {
			t.Fatal(err)
		}
	}
	if line, err := e.Line(guarded(t), "n"); err != nil || line.Kind != 0 {
		t.Errorf("%+v, %v", line, err)
	}
}

// S4: the first one's reply was lost. What it did is found, whether it was granted
// or waits, also where there is room for two.
func TestTheSameAcquireTwiceIsOneClaim(t *testing.T) {
	e := open(t, t.TempDir())
	s := begin(t, e, long)
	c := mutex("n")
	c.Kind, c.Limit = engine.Semaphore, 2
	first, again := acquire(t, s, c), acquire(t, s, c)
	if first.Token != again.Token {
		t.Errorf("tokens %d and %d", first.Token, again.Token)
	}
	both := mutex("n")
	both.Kind, both.Shares, both.Limit = engine.Semaphore, 2, 2
	waits := enqueue(t, s, both)
	same := make(chan granted, 1)
	go func() {
		g, err := s.Acquire(guarded(t), both, true)
		same <- granted{Grant: g, err: err}
	}()
	release(t, s, c)
	if a, b := mustGrant(t, waits), mustGrant(t, same); a.Token != b.Token {
		t.Errorf("tokens %d and %d", a.Token, b.Token)
	}
	if line, err := e.Line(guarded(t), "n"); err != nil || len(line.Holders) != 1 || len(line.Waiters) > 0 {
		t.Errorf("%+v, %v", line, err)
	}
}

// A job that was not begun when its caller left does not happen.
func TestWhoLeavesBeforeTheGateOpensChangesNothing(t *testing.T) {
	dir := t.TempDir()
	e, other := open(t, dir), open(t, dir)
	s := begin(t, e, long)
	if err := other.writer.gate.enter(nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error)
	go func() {
		_, err := s.Acquire(ctx, mutex("n"), false)
		failed <- err
	}()
	queued(e, 0)
	cancel()
	mustBe(t, <-failed, context.Canceled)
	if err := other.writer.gate.leave(); err != nil {
		t.Fatal(err)
	}
	// The same writer: this comes after what it had.
	c := mutex("m")
	acquire(t, s, c)
	if line, err := e.Line(guarded(t), "n"); err != nil || line.Kind != 0 {
		t.Errorf("%+v, %v", line, err)
	}
}

// queued waits until the writer waits at the gate and so many jobs behind it.
func queued(e *Engine, n int) {
	for {
		e.writer.mu.Lock()
		is := len(e.writer.queue)
		e.writer.mu.Unlock()
		if is == n && len(e.writer.turn) == 0 {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// One job of a batch fails: the others have their transactions all the same.
func TestFailureOfOneJobIsNotAnothers(t *testing.T) {
	dir := t.TempDir()
	e, other := open(t, dir), open(t, dir)
	s := begin(t, e, long)
	if err := other.writer.gate.enter(nil); err != nil {
		t.Fatal(err)
	}
	bad := errors.New("bad")
	fail := func() <-chan error {
		return e.writer.later(func(t *txn) error {
			if _, err := t.exec("DELETE FROM sessions"); err != nil {
				return err
			}
			return bad
		})
	}
	fails := []<-chan error{fail()}
	queued(e, 0) // that one waits at the gate; the next share a transaction
	fails = append(fails, fail(), fail())
	good := make(chan error, 1)
	go func() {
		_, err := s.Acquire(t.Context(), mutex("n"), false)
		good <- err
	}()
	queued(e, 3)
	if err := other.writer.gate.leave(); err != nil {
		t.Fatal(err)
	}
	for _, f := range fails {
		mustBe(t, <-f, bad)
	}
	if err := <-good; err != nil {
		t.Error(err)
	}
}

func TestRemovedClaimIsToldToItsSession(t *testing.T) {
	e := open(t, t.TempDir())
	told := make(chan engine.ClaimID, 1)
	s, err := e.Begin(guarded(t), engine.SessionOptions{TTL: long, Lost: func(id engine.ClaimID, _ error) { told <- id }})
	if err != nil {
		t.Fatal(err)
	}
	c := mutex("n")
	acquire(t, s.(*Session), c)
	if err := e.Remove(guarded(t), "n", c.ID); err != nil {
		t.Fatal(err)
	}
	if id := <-told; id != c.ID {
		t.Errorf("told of %q, want %q", id, c.ID)
	}
	r, err := s.Renew(guarded(t), []*engine.Claim{c})
	if err != nil || len(r.Lost) != 1 {
		t.Errorf("%+v, %v; want the claim among the lost", r, err)
	}
}

func FuzzDeadline(f *testing.F) {
	f.Add(encodeDeadline(0))
	f.Add(encodeDeadline(1 << 62))
	f.Add([]byte("0123456789abcdef"))
	f.Fuzz(func(t *testing.T, b []byte) {
		d, ok := decodeDeadline(b)
		if ok && (d < 0 || string(encodeDeadline(d)) != string(b)) {
			t.Errorf("%x is %d", b, d)
		}
	})
}

func FuzzFileName(f *testing.F) {
	f.Add("0000000000000001")
	f.Add("ffffffffffffffff")
	f.Add("../../etc/passwd")
	f.Fuzz(func(t *testing.T, name string) {
		if id, ok := parseFileName(name); ok && (id <= 0 || fileName(id) != name) {
			t.Errorf("%q is %d", name, id)
		}
	})
}
