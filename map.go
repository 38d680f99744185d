package lockstep

import (
	"bytes"
	"context"
	"fmt"

	"github.com/lockstep-go/lockstep/engine"
)

// Map is entries under one name that everyone sees: a key has a value and the
// revision of the commit that wrote it. What is stored stays until it is
// deleted, whoever stored it. A Map is a stateless handle: any number of
// goroutines may use one.
//
// A call that gets no answer is repeated until it has one, its context ends, or
// one TTL of the client has passed: then it is [ErrUnavailable].
type Map struct {
	c    *Client
	name string // as the user gave it
	full string // as the engine knows it
	err  error  // of Client.Map, told at the first use
}

// Snapshot is a whole map as it was at one revision. On an engine whose Info
// says that it merges changes (EveryChange is false) an entry may be newer.
type Snapshot struct {
	Revision Revision
	Entries  []Entry // in byte order of their keys
}

// Map is the map with this name. A bad name is an error of its first use.
func (c *Client) Map(name string) *Map {
	m := &Map{c: c, name: name}
	if c != nil {
		m.full, m.err = c.canonical(name)
	}
	return m
}

var errZeroMap = invalidf("a map or value that was not made by a Client's method")

// store checks the handle and gives the engine's side of it.
func (m *Map) store() (engine.Store, error) {
	switch {
	case m.c == nil:
		return nil, errZeroMap
	case m.c.ctx.Err() != nil:
		return nil, ErrClosed
	case m.err != nil:
		return nil, m.err
	}
	if s := m.c.eng.Store(); s != nil {
		return s, nil
	}
	return nil, fmt.Errorf("%w: the %s engine keeps no maps", ErrUnsupported, m.c.info.Engine)
}

// failed names the operation, the map and, where there is one, the key.
func (m *Map) failed(op, key string, err error) error {
	if err == nil {
		return nil
	}
	if key != "" {
		op = fmt.Sprintf("%s key %.40q of", op, key)
	}
	return failed(op, m.name, err)
}

// Get is one entry; [ErrNotFound] where there is none.
func (m *Map) Get(ctx context.Context, key string) (Entry, error) {
	e, err := m.get(ctx, key)
	if err != nil {
		return Entry{}, m.failed("get", key, err)
	}
	return e, nil
}

func (m *Map) get(ctx context.Context, key string) (e Entry, err error) {
	store, err := m.store()
	if err != nil {
		return e, err
	}
	if err := checkKey(key); err != nil {
		return e, err
	}
	err = m.c.ask(ctx, func(ctx context.Context) (err error) {
		e, err = store.Get(ctx, m.full, key)
		return err
	})
	e.Value = bytes.Clone(e.Value)
	return e, err
}

// List is the whole map. A map that nobody has used is empty and no error.
func (m *Map) List(ctx context.Context) (Snapshot, error) {
	s, err := m.list(ctx)
	if err != nil {
		return Snapshot{}, m.failed("list", "", err)
	}
	return s, nil
}

func (m *Map) list(ctx context.Context) (Snapshot, error) {
	store, err := m.store()
	if err != nil {
		return Snapshot{}, err
	}
	var all engine.Event
	err = m.c.ask(ctx, func(ctx context.Context) (err error) {
		all, err = store.List(ctx, m.full)
		return err
	})
	return Snapshot{Revision: all.Revision, Entries: cloneEntries(all.Entries)}, err
}

// Put writes an entry, whatever was there.
func (m *Map) Put(ctx context.Context, key string, value []byte) (Revision, error) {
	r, err := m.commit(ctx, Tx{Put: []Entry{{Key: key, Value: value}}})
	return r, m.failed("put", key, err)
}

// Delete removes an entry. Where there is none, nothing changes, and that is no
// error.
func (m *Map) Delete(ctx context.Context, key string) (Revision, error) {
	r, err := m.commit(ctx, Tx{Put: []Entry{{Key: key, Deleted: true}}})
	return r, m.failed("delete", key, err)
}

// CompareAndSwap writes an entry if its revision still is old; 0: if there is
// none. Otherwise it is [ErrConflict], and nothing changed.
func (m *Map) CompareAndSwap(ctx context.Context, key string, old Revision, value []byte) (Revision, error) {
	r, err := m.commit(ctx, Tx{If: []Cond{{Key: key, Revision: old}}, Put: []Entry{{Key: key, Value: value}}})
	return r, m.failed("compare and swap", key, err)
}

// Commit does all of tx or nothing, once: where one of its conditions does not
// hold it is [ErrConflict], and nothing changed. It returns the revision of what
// it wrote, or, where it changed nothing, the map's present one.
//
// A commit whose reply was lost is asked for again under the same Tx.ID, which
// the engine carries out once. An ID that the caller gives makes it so across
// calls and processes for an hour. Where the error is no answer of the engine's
// it says that the outcome is not known: the commit may have been made, or may
// yet be made by a request that is still on its way.
func (m *Map) Commit(ctx context.Context, tx Tx) (Revision, error) {
	r, err := m.commit(ctx, tx)
	return r, m.failed("commit to", "", err)
}

func cloneEntries(entries []Entry) []Entry {
	own := make([]Entry, len(entries))
	for i, e := range entries {
		e.Value = bytes.Clone(e.Value)
		own[i] = e
	}
	return own
}
