package lockstep_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func TestCommitDoesAllOrNothing(t *testing.T) {
	m := newService(t).client().Map("m")
	a := put(t, m, "a", "1")
	b := put(t, m, "b", "1")
	tx := lockstep.Tx{
		If:  []lockstep.Cond{{Key: "a", Revision: a}, {Key: "b", Revision: a}},
		Put: []lockstep.Entry{{Key: "a", Deleted: true}, {Key: "c", Value: []byte("1")}},
	}
	_, err := m.Commit(t.Context(), tx)
	wantErr(t, err, lockstep.ErrConflict)
	wantEntry(t, m, "a", "1", a)
	tx.If[1].Revision = b
	r, err := m.Commit(t.Context(), tx)
	wantNo(t, err)
	wantEntry(t, m, "c", "1", r)
	_, err = m.Get(t.Context(), "a")
	wantErr(t, err, lockstep.ErrNotFound)
}

func TestCommitWithOneIDIsDoneOnce(t *testing.T) {
	s := newService(t)
	tx := lockstep.Tx{ID: "order 7", Put: []lockstep.Entry{{Key: "k", Value: []byte("1")}}}
	r, err := s.client().Map("m").Commit(t.Context(), tx)
	wantNo(t, err)
	m := s.client().Map("m")
	later := put(t, m, "k", "2")
	again, err := m.Commit(t.Context(), tx)
	wantNo(t, err)
	if again != r {
		t.Fatalf("done again: revision %d, then %d", r, again)
	}
	wantEntry(t, m, "k", "2", later)
}

func TestEveryCommitCarriesAnIDOfItsOwn(t *testing.T) {
	c, sh := newService(t).shelved()
	ids := map[string]bool{}
	sh.commit = func(ctx context.Context, tx engine.Tx, next commitFunc) (engine.Revision, error) {
		ids[tx.ID] = true
		return next(ctx, tx)
	}
	m := c.Map("m")
	put(t, m, "k", "1")
	put(t, m, "k", "1")
	_, err := m.Delete(t.Context(), "k")
	wantNo(t, err)
	_, err = m.CompareAndSwap(t.Context(), "k", 0, nil)
	wantNo(t, err)
	if len(ids) != 4 || ids[""] {
		t.Fatalf("four commits had the ids %v", ids)
	}
}

// S4: 8 × 100 additions by compare and swap, a third of the replies lost after
// the commit was made: each is counted once.
func TestCommitsAreExactlyOnceWhenRepliesAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, sh := s.shelved()
		var calls, lost int
		sh.commit = func(ctx context.Context, tx engine.Tx, next commitFunc) (engine.Revision, error) {
			r, err := next(ctx, tx)
			sh.mu.Lock()
			defer sh.mu.Unlock()
			if calls++; calls%3 == 0 {
				lost++
				return 0, errNoReply
			}
			return r, err
		}
		m := c.Map("m")
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				for range 100 {
					if err := add(t.Context(), m); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		e, err := s.client().Map("m").Get(t.Context(), "sum")
		wantNo(t, err)
		if string(e.Value) != "800" {
			t.Fatalf("the sum is %s after 800 additions; %d of %d replies were lost", e.Value, lost, calls)
		}
		if lost < 250 {
			t.Fatalf("only %d of %d replies were lost", lost, calls)
		}
	})
}

// add adds one to the sum, again where somebody else was faster.
func add(ctx context.Context, m *lockstep.Map) error {
	for {
		e, err := m.Get(ctx, "sum")
		if err != nil && !errors.Is(err, lockstep.ErrNotFound) {
			return err
		}
		n, _ := strconv.Atoi(string(e.Value)) // 0 where there is none
		_, err = m.CompareAndSwap(ctx, "sum", e.Revision, fmt.Append(nil, n+1))
		if !errors.Is(err, lockstep.ErrConflict) {
			return err
		}
	}
}

func TestCommitIsRepeatedUnderTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		var ids []string
		sh.commit = func(ctx context.Context, tx engine.Tx, next commitFunc) (engine.Revision, error) {
			ids = append(ids, tx.ID)
			if len(ids) < 3 {
				return 0, errNoReply
			}
			return next(ctx, tx)
		}
		put(t, c.Map("m"), "k", "v")
		if len(ids) != 3 || ids[0] != ids[1] || ids[1] != ids[2] {
			t.Fatalf("asked under the ids %q", ids)
		}
	})
}

// What hangs is asked again in time for an answer; what does not answer for a
// TTL could not be asked, and the error says that the commit may have been made.
func TestCommitWithoutAnAnswerForATTLIsUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		tries := 0
		sh.commit = func(ctx context.Context, _ engine.Tx, _ commitFunc) (engine.Revision, error) {
			tries++
			<-ctx.Done()
			return 0, ctx.Err()
		}
		start := time.Now()
		_, err := c.Map("m").Put(t.Context(), "k", nil)
		wantErr(t, err, lockstep.ErrUnavailable)
		if !strings.Contains(err.Error(), "not known") || errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("%v", err)
		}
		if took := time.Since(start); took != ttl || tries < 2 {
			t.Fatalf("gave up after %v and %d tries; want %v", took, tries, ttl)
		}
	})
}

func TestCommitEndsWithItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		sh.commit = func(context.Context, engine.Tx, commitFunc) (engine.Revision, error) { return 0, errNoReply }
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := c.Map("m").Put(ctx, "k", nil)
		wantErr(t, err, context.DeadlineExceeded)
		if took := time.Since(start); took != time.Second || !strings.Contains(err.Error(), "not known") {
			t.Fatalf("after %v: %v", took, err)
		}
	})
}

func TestNothingIsAskedForACallerThatHasLeft(t *testing.T) {
	c, sh := newService(t).shelved()
	sh.commit = func(context.Context, engine.Tx, commitFunc) (engine.Revision, error) {
		t.Error("asked")
		return 0, errNoReply
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := c.Map("m").Put(ctx, "k", nil)
	wantErr(t, err, context.Canceled)
	if strings.Contains(err.Error(), "not known") {
		t.Fatalf("nothing was asked, and the error is %v", err)
	}
}

// What an earlier try came to stays unknown where a later one finds the engine
// unusable; that is not asked again.
func TestUnusableStoreIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		answers := []error{engine.ErrUnusable, errNoReply, engine.ErrUnusable}
		sh.commit = func(context.Context, engine.Tx, commitFunc) (engine.Revision, error) {
			err := answers[0]
			answers = answers[1:]
			return 0, err
		}
		_, err := c.Map("m").Put(t.Context(), "k", nil)
		wantErr(t, err, lockstep.ErrUnavailable)
		if len(answers) != 2 || strings.Contains(err.Error(), "not known") {
			t.Fatalf("%v, with %d answers left", err, len(answers))
		}
		_, err = c.Map("m").Put(t.Context(), "k", nil)
		wantErr(t, err, lockstep.ErrUnavailable)
		if len(answers) != 0 || !strings.Contains(err.Error(), "not known") {
			t.Fatalf("%v, with %d answers left", err, len(answers))
		}
	})
}

func TestReadsAreRepeatedUntilTheyAreAnswered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		m := c.Map("m")
		r := put(t, m, "k", "v")
		tries := 0
		sh.get = func(ctx context.Context, next func(context.Context) (engine.Entry, error)) (engine.Entry, error) {
			if tries++; tries < 4 {
				return engine.Entry{}, errNoReply
			}
			return next(ctx)
		}
		wantEntry(t, m, "k", "v", r)

		start := time.Now()
		sh.list = func(context.Context, func(context.Context) (engine.Event, error)) (engine.Event, error) {
			return engine.Event{}, errNoReply
		}
		_, err := m.List(t.Context())
		wantErr(t, err, lockstep.ErrUnavailable)
		wantErr(t, err, errNoReply)
		if took := time.Since(start); took != ttl {
			t.Fatalf("gave up after %v; want %v", took, ttl)
		}
	})
}

// A large map may take longer than what a hanging request is given.
func TestSlowListGetsTheTimeItNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		m := c.Map("m")
		put(t, m, "k", "v")
		sh.list = func(ctx context.Context, next func(context.Context) (engine.Event, error)) (engine.Event, error) {
			select {
			case <-time.After(ttl * 2 / 5):
				return next(ctx)
			case <-ctx.Done():
				return engine.Event{}, ctx.Err()
			}
		}
		all, err := m.List(t.Context())
		wantNo(t, err)
		if len(all.Entries) != 1 {
			t.Fatalf("%+v", all)
		}
	})
}

func TestCloseEndsWhatIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, sh := newService(t).shelved()
		sh.commit = func(ctx context.Context, _ engine.Tx, _ commitFunc) (engine.Revision, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		done := make(chan error)
		go func() { done <- second(c.Map("m").Put(t.Context(), "k", nil)) }()
		synctest.Wait()
		start := time.Now()
		wantNo(t, c.Close())
		err := <-done
		wantErr(t, err, lockstep.ErrClosed)
		if time.Since(start) != 0 || !strings.Contains(err.Error(), "not known") {
			t.Fatalf("after %v: %v", time.Since(start), err)
		}
	})
}

func TestCommitOfMoreThanTheEngineTakesIsRefusedWithAReason(t *testing.T) {
	s := newService(t)
	c := s.over(&rig{Engine: s.s.Engine(), info: func(i *engine.Info) { i.MaxOps, i.MaxTx = 2, 10 }})
	_, err := c.Map("m").Commit(t.Context(), lockstep.Tx{Put: []lockstep.Entry{{Key: "a"}, {Key: "b"}, {Key: "c"}}})
	wantErr(t, err, lockstep.ErrInvalid)
	_, err = c.Map("m").Put(t.Context(), "key", []byte("8 bytes."))
	wantErr(t, err, lockstep.ErrInvalid)
	_, err = c.Map("m").Commit(t.Context(), lockstep.Tx{Put: []lockstep.Entry{{Key: "a"}, {Key: "b"}}})
	wantNo(t, err)
}
