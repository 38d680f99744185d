package lockstep

import (
	"bytes"
	"context"
	"errors"
	"iter"
)

// TypedMap is a [Map] whose values are Ts. Like it, it is a stateless handle.
//
// What is stored under a key and cannot be decoded is [ErrMismatch]: another
// program, or another version of this one, stored something else there.
type TypedMap[T any] struct {
	m *Map
	c codec[T]
}

// TypedEntry is one key of a typed map.
type TypedEntry[T any] struct {
	Key      string
	Value    T
	Revision Revision // of the commit that wrote it
}

// TypedChange is one step of a typed watch.
type TypedChange[T any] struct {
	Change // its Value is as stored

	Decoded T     // of OpPut; else, and with Err, the zero value
	Err     error // the value could not be decoded, which does not end the watch
}

// MapOf is the map of that name with values of type T, stored as JSON where no
// encoding is chosen.
func MapOf[T any](c *Client, name string, chosen ...Encoding) *TypedMap[T] {
	return &TypedMap[T]{c.Map(name), newCodec[T](chosen)}
}

// Map is the same map with values as they are stored.
func (m *TypedMap[T]) Map() *Map {
	if m.m == nil {
		return &Map{}
	}
	return m.m
}

// Get is one entry; [ErrNotFound] where there is none.
func (m *TypedMap[T]) Get(ctx context.Context, key string) (TypedEntry[T], error) {
	stored, e, err := m.get(ctx, key)
	if err != nil {
		return TypedEntry[T]{}, m.Map().failed("get", key, err)
	}
	return TypedEntry[T]{key, e, stored.Revision}, nil
}

func (m *TypedMap[T]) get(ctx context.Context, key string) (stored Entry, v T, err error) {
	if stored, err = m.Map().get(ctx, key); err != nil {
		return stored, v, err
	}
	v, err = m.c.decode(m.Map(), key, stored.Value)
	return stored, v, err
}

// List is the whole map, in byte order of the keys, and its revision. One entry
// that cannot be decoded is an error that names it.
func (m *TypedMap[T]) List(ctx context.Context) ([]TypedEntry[T], Revision, error) {
	all, err := m.Map().list(ctx)
	entries := make([]TypedEntry[T], len(all.Entries))
	for i, e := range all.Entries {
		if err != nil {
			break
		}
		entries[i] = TypedEntry[T]{Key: e.Key, Revision: e.Revision}
		entries[i].Value, err = m.c.decode(m.Map(), e.Key, e.Value)
	}
	if err != nil {
		return nil, 0, m.Map().failed("list", "", err)
	}
	return entries, all.Revision, nil
}

// Put writes an entry, whatever was there.
func (m *TypedMap[T]) Put(ctx context.Context, key string, value T) (Revision, error) {
	stored, err := m.c.encode(value)
	if err != nil {
		return 0, m.Map().failed("put", key, err)
	}
	return m.Map().Put(ctx, key, stored)
}

// Delete removes an entry. Where there is none, nothing changes, and that is no
// error.
func (m *TypedMap[T]) Delete(ctx context.Context, key string) (Revision, error) {
	return m.Map().Delete(ctx, key)
}

// CompareAndSwap writes an entry if its revision still is old; 0: if there is
// none. Otherwise it is [ErrConflict], and nothing changed.
func (m *TypedMap[T]) CompareAndSwap(ctx context.Context, key string, old Revision, value T) (Revision, error) {
	stored, err := m.c.encode(value)
	if err != nil {
		return 0, m.Map().failed("compare and swap", key, err)
	}
	return m.Map().CompareAndSwap(ctx, key, old, stored)
}

// Update makes of an entry what f makes of it, and returns that. Where somebody
// else changed it meanwhile, f is called again with what there is now, after a
// pause that grows, until it succeeds or ctx ends; so f must do nothing but
// compute. Where there is no entry, old is the zero value. f's error ends Update
// as it is, and nothing changes; nor is anything written where f changes nothing.
//
// An update is made once, also where its reply was lost. Where the error is no
// answer of the engine's, it says that the outcome is not known ([Map.Commit]).
func (m *TypedMap[T]) Update(ctx context.Context, key string, f func(old T) (T, error)) (T, error) {
	for conflicts := 0; ; conflicts++ {
		v, again, err := m.update(ctx, key, f)
		switch {
		case err == nil:
			return v, nil
		case !again:
			return *new(T), m.Map().failed("update", key, err)
		}
		pauseAfterConflict(ctx, conflicts)
	}
}

// update is one try; again: somebody else was faster.
func (m *TypedMap[T]) update(ctx context.Context, key string, f func(old T) (T, error)) (v T, again bool, err error) {
	stored, old, err := m.get(ctx, key)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return v, false, err
	}
	if v, err = f(old); err != nil {
		return v, false, err
	}
	value, err := m.c.encode(v)
	if err != nil || stored.Revision > 0 && bytes.Equal(value, stored.Value) {
		return v, false, err
	}
	_, err = m.Map().commit(ctx, Tx{If: []Cond{{Key: key, Revision: stored.Revision}}, Put: []Entry{{Key: key, Value: value}}})
	return v, errors.Is(err, ErrConflict), err
}

// Watch yields the map as it is, and then what changes, as [Map.Watch] does. A
// value that cannot be decoded is a change with Err set.
func (m *TypedMap[T]) Watch(ctx context.Context) iter.Seq2[TypedChange[T], error] {
	return m.typed(m.Map().Watch(ctx))
}

func (m *TypedMap[T]) typed(changes iter.Seq2[Change, error]) iter.Seq2[TypedChange[T], error] {
	return func(yield func(TypedChange[T], error) bool) {
		for change, err := range changes {
			typed := TypedChange[T]{Change: change}
			if err == nil && change.Op == OpPut {
				typed.Decoded, typed.Err = m.c.decode(m.Map(), change.Key, change.Value)
			}
			if !yield(typed, err) {
				return
			}
		}
	}
}
