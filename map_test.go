package lockstep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

// shelf is an engine whose store's calls go through functions that a test sets.
type shelf struct {
	engine.Engine

	mu      sync.Mutex
	get     func(ctx context.Context, next func(context.Context) (engine.Entry, error)) (engine.Entry, error)
	list    func(ctx context.Context, next func(context.Context) (engine.Event, error)) (engine.Event, error)
	commit  func(ctx context.Context, tx engine.Tx, next commitFunc) (engine.Revision, error)
	watch   func(ctx context.Context, after engine.Revision) iter.Seq2[engine.Event, error]
	watches int                                   // that were begun
	living  map[*context.CancelCauseFunc]struct{} // watches that have not ended
}

type commitFunc func(context.Context, engine.Tx) (engine.Revision, error)

// shelved is a program of its own, with a store that the test can rig.
func (s *service) shelved() (*lockstep.Client, *shelf) {
	s.t.Helper()
	sh := &shelf{Engine: s.s.Engine(), living: map[*context.CancelCauseFunc]struct{}{}}
	return s.over(&rig{Engine: sh}), sh
}

func (s *shelf) Store() engine.Store { return shelfStore{s.Engine.Store(), s} }

// set changes a hook while calls may be under way.
func (s *shelf) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// interrupt ends every watch with an error, as a cut connection does.
func (s *shelf) interrupt(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cancel := range s.living {
		(*cancel)(err)
	}
}

// counts are the watches that were begun, and those that have not ended.
func (s *shelf) counts() (begun, living int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.watches, len(s.living)
}

type shelfStore struct {
	engine.Store

	s *shelf
}

func (st shelfStore) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	next := func(ctx context.Context) (engine.Entry, error) { return st.Store.Get(ctx, m, key) }
	st.s.mu.Lock()
	hook := st.s.get
	st.s.mu.Unlock()
	if hook == nil {
		return next(ctx)
	}
	return hook(ctx, next)
}

func (st shelfStore) List(ctx context.Context, m string) (engine.Event, error) {
	next := func(ctx context.Context) (engine.Event, error) { return st.Store.List(ctx, m) }
	st.s.mu.Lock()
	hook := st.s.list
	st.s.mu.Unlock()
	if hook == nil {
		return next(ctx)
	}
	return hook(ctx, next)
}

func (st shelfStore) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	next := func(ctx context.Context, tx engine.Tx) (engine.Revision, error) { return st.Store.Commit(ctx, m, tx) }
	st.s.mu.Lock()
	hook := st.s.commit
	st.s.mu.Unlock()
	if hook == nil {
		return next(ctx, tx)
	}
	return hook(ctx, tx, next)
}

func (st shelfStore) Watch(ctx context.Context, m string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		inner, cancel := context.WithCancelCause(ctx)
		st.s.mu.Lock()
		st.s.watches++
		st.s.living[&cancel] = struct{}{}
		events := st.s.watch
		st.s.mu.Unlock()
		defer st.s.set(func() { delete(st.s.living, &cancel) })
		defer cancel(nil)
		if events == nil {
			events = func(ctx context.Context, after engine.Revision) iter.Seq2[engine.Event, error] {
				return st.Store.Watch(ctx, m, after)
			}
		}
		for ev, err := range events(inner, after) {
			if err != nil && inner.Err() != nil {
				err = context.Cause(inner)
			}
			if !yield(ev, err) || err != nil {
				return
			}
		}
	}
}

func put(t *testing.T, m *lockstep.Map, key, value string) lockstep.Revision {
	t.Helper()
	r, err := m.Put(t.Context(), key, []byte(value))
	wantNo(t, err)
	return r
}

// wantEntry fails unless the key has this value and revision.
func wantEntry(t *testing.T, m *lockstep.Map, key, value string, r lockstep.Revision) {
	t.Helper()
	e, err := m.Get(t.Context(), key)
	wantNo(t, err)
	if e.Key != key || string(e.Value) != value || e.Revision != r {
		t.Fatalf("entry is %+v; want %q at revision %d", e, value, r)
	}
}

func TestMapKeepsWhatWasPut(t *testing.T) {
	s := newService(t)
	m := s.client().Map("config")
	r := put(t, m, "limit", "10")
	wantEntry(t, s.client().Map("config"), "limit", "10", r)
	_, err := m.Get(t.Context(), "other")
	wantErr(t, err, lockstep.ErrNotFound)
	_, err = s.client().Map("config2").Get(t.Context(), "limit")
	wantErr(t, err, lockstep.ErrNotFound)
}

func TestPrefixSeparatesMaps(t *testing.T) {
	s := newService(t)
	r := put(t, s.client(lockstep.WithPrefix("a/")).Map("m"), "k", "v")
	wantEntry(t, s.client().Map("a/m"), "k", "v", r)
}

func TestListIsTheWholeMapAtOneRevision(t *testing.T) {
	m := newService(t).client().Map("m")
	all, err := m.List(t.Context())
	wantNo(t, err)
	if len(all.Entries) != 0 {
		t.Fatalf("an unused map lists %v", all)
	}
	put(t, m, "b", "1")
	r := put(t, m, "a", "2")
	all, err = m.List(t.Context())
	wantNo(t, err)
	if all.Revision != r || len(all.Entries) != 2 || all.Entries[0].Key != "a" || all.Entries[1].Key != "b" {
		t.Fatalf("%+v; want a and b at revision %d", all, r)
	}
}

func TestDeletingTwiceIsNoError(t *testing.T) {
	m := newService(t).client().Map("m")
	put(t, m, "k", "v")
	gone, err := m.Delete(t.Context(), "k")
	wantNo(t, err)
	again, err := m.Delete(t.Context(), "k")
	wantNo(t, err)
	if again != gone {
		t.Fatalf("deleting nothing made revision %d of %d", again, gone)
	}
	_, err = m.Get(t.Context(), "k")
	wantErr(t, err, lockstep.ErrNotFound)
}

func TestCompareAndSwapWritesOnlyOverWhatIsThere(t *testing.T) {
	m := newService(t).client().Map("m")
	first, err := m.CompareAndSwap(t.Context(), "k", 0, []byte("1"))
	wantNo(t, err)
	_, err = m.CompareAndSwap(t.Context(), "k", 0, []byte("x")) // 0: must not exist
	wantErr(t, err, lockstep.ErrConflict)
	second, err := m.CompareAndSwap(t.Context(), "k", first, []byte("2"))
	wantNo(t, err)
	_, err = m.CompareAndSwap(t.Context(), "k", first, []byte("x"))
	wantErr(t, err, lockstep.ErrConflict)
	wantEntry(t, m, "k", "2", second)
}

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

func TestNamesKeysAndValuesHaveLimits(t *testing.T) {
	c, sh := newService(t).shelved()
	sh.commit = func(context.Context, engine.Tx, commitFunc) (engine.Revision, error) {
		t.Error("the engine was asked")
		return 0, nil
	}
	long := strings.Repeat("x", lockstep.MaxKey+1)
	entry := lockstep.Entry{Key: "k"}
	for what, do := range map[string]func() error{
		"no name":      func() error { return second(c.Map("").Put(t.Context(), "k", nil)) },
		"dot name":     func() error { return second(c.Map(".m").Put(t.Context(), "k", nil)) },
		"value's name": func() error { return second(c.Value("").Put(t.Context(), nil)) },
		"watch's name": func() error { return first(c.Map("").Watch(t.Context())) },
		"long key":     func() error { return second(c.Map("m").Put(t.Context(), long, nil)) },
		"get's key":    func() error { return second(c.Map("m").Get(t.Context(), "a\x00")) },
		"delete's key": func() error { return second(c.Map("m").Delete(t.Context(), "\xff")) },
		"long value":   func() error { return second(c.Map("m").Put(t.Context(), "k", make([]byte, lockstep.MaxValue+1))) },
		"key twice": func() error {
			return second(c.Map("m").Commit(t.Context(), lockstep.Tx{Put: []lockstep.Entry{entry, {Key: "k", Deleted: true}}}))
		},
		"long id": func() error {
			return second(c.Map("m").Commit(t.Context(), lockstep.Tx{ID: long, Put: []lockstep.Entry{entry}}))
		},
		"condition's key": func() error {
			return second(c.Map("m").Commit(t.Context(), lockstep.Tx{If: []lockstep.Cond{{Key: long}}}))
		},
		"zero map":   func() error { return second(new(lockstep.Map).Put(t.Context(), "k", nil)) },
		"zero value": func() error { return second(new(lockstep.Value).Put(t.Context(), nil)) },
		"nil client": func() error { return second((*lockstep.Client)(nil).Map("m").List(t.Context())) },
	} {
		if err := do(); !errors.Is(err, lockstep.ErrInvalid) {
			t.Errorf("%s: error is %v; want %v", what, err, lockstep.ErrInvalid)
		}
	}
}

func TestLargestKeyAndValueAreTaken(t *testing.T) {
	m := newService(t).client().Map("m")
	key, value := strings.Repeat("k", lockstep.MaxKey), strings.Repeat("v", lockstep.MaxValue)
	wantEntry(t, m, key, value, put(t, m, key, value))
}

func TestEngineMayTakeLessThanTheCommonLimit(t *testing.T) {
	s := newService(t)
	c := s.over(&rig{Engine: s.s.Engine(), info: func(i *engine.Info) { i.MaxValue = 3 }})
	put(t, c.Map("m"), "k", "123")
	_, err := c.Map("m").Put(t.Context(), "k", []byte("1234"))
	wantErr(t, err, lockstep.ErrInvalid)
}

// storeless is an engine that keeps no maps.
type storeless struct{ engine.Engine }

func (storeless) Store() engine.Store { return nil }

// What an engine cannot do it says (S11).
func TestEngineWithoutStoreSaysSo(t *testing.T) {
	s := newService(t)
	m := s.over(&rig{Engine: storeless{s.s.Engine()}}).Map("m")
	_, err := m.Get(t.Context(), "k")
	wantErr(t, err, lockstep.ErrUnsupported)
	_, err = m.Put(t.Context(), "k", nil)
	wantErr(t, err, lockstep.ErrUnsupported)
	wantErr(t, first(m.Watch(t.Context())), lockstep.ErrUnsupported)
}

func TestNoMapAfterClose(t *testing.T) {
	c := newService(t).client()
	m := c.Map("m")
	wantNo(t, c.Close())
	_, err := m.Get(t.Context(), "k")
	wantErr(t, err, lockstep.ErrClosed)
	_, err = m.Put(t.Context(), "k", nil)
	wantErr(t, err, lockstep.ErrClosed)
	wantErr(t, first(m.Watch(t.Context())), lockstep.ErrClosed)
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

// Nobody's slice is anybody else's: a request may be on its way when its caller
// has left, and what is returned is the caller's own.
func TestMapCopiesValues(t *testing.T) {
	c, sh := newService(t).shelved()
	var asked engine.Tx
	sh.commit = func(ctx context.Context, tx engine.Tx, next commitFunc) (engine.Revision, error) {
		asked = tx
		return next(ctx, tx)
	}
	kept := engine.Entry{Key: "k", Value: []byte("kept")}
	sh.get = func(context.Context, func(context.Context) (engine.Entry, error)) (engine.Entry, error) {
		return kept, nil
	}
	sh.list = func(context.Context, func(context.Context) (engine.Event, error)) (engine.Event, error) {
		return engine.Event{Entries: []engine.Entry{kept}}, nil
	}
	m := c.Map("m")

	value := []byte("mine")
	_, err := m.Put(t.Context(), "k", value)
	wantNo(t, err)
	copy(value, "XXXX")
	if string(asked.Put[0].Value) != "mine" {
		t.Fatalf("what was asked for became %s", asked.Put[0].Value)
	}
	e, err := m.Get(t.Context(), "k")
	wantNo(t, err)
	copy(e.Value, "XXXX")
	all, err := m.List(t.Context())
	wantNo(t, err)
	copy(all.Entries[0].Value, "XXXX")
	if !bytes.Equal(kept.Value, []byte("kept")) {
		t.Fatalf("the engine's value became %s", kept.Value)
	}
}

func TestErrorsNameOperationMapAndKey(t *testing.T) {
	m := newService(t).client().Map("config")
	_, err := m.Get(t.Context(), "limit")
	if want := `lockstep: get key "limit" of "config": `; !strings.HasPrefix(err.Error(), want) {
		t.Fatalf("%v; want %s…", err, want)
	}
	if strings.Count(err.Error(), "lockstep: ") != 1 {
		t.Fatalf("wrapped more than once: %v", err)
	}
}

func second[T any](_ T, err error) error { return err }

// first is the error that a watch begins with.
func first(changes iter.Seq2[lockstep.Change, error]) error {
	for _, err := range changes {
		return err
	}
	return nil
}
