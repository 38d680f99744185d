package lockstep_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

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
