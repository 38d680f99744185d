package lockstep

import (
	"context"
	"iter"
)

// Value is one entry that everyone sees: the entry with the empty key of the map
// with the same name. On engines whose layout others share it lives at exactly
// its name.
type Value struct{ m *Map }

// Value is the value with this name. A bad name is an error of its first use.
func (c *Client) Value(name string) *Value { return &Value{c.Map(name)} }

func (v *Value) entry() *Map {
	if v.m == nil {
		return &Map{}
	}
	return v.m
}

// Get is the value with its revision; [ErrNotFound] where there is none.
func (v *Value) Get(ctx context.Context) (Entry, error) { return v.entry().Get(ctx, "") }

// Put writes it, whatever was there.
func (v *Value) Put(ctx context.Context, value []byte) (Revision, error) {
	return v.entry().Put(ctx, "", value)
}

// Delete removes it; where there is none, that is no error.
func (v *Value) Delete(ctx context.Context) (Revision, error) { return v.entry().Delete(ctx, "") }

// CompareAndSwap writes it if its revision still is old; 0: if there is none.
// Otherwise it is [ErrConflict], and nothing changed.
func (v *Value) CompareAndSwap(ctx context.Context, old Revision, value []byte) (Revision, error) {
	return v.entry().CompareAndSwap(ctx, "", old, value)
}

// Watch yields the value as it is, and then every change of it, as [Map.Watch]
// does: a [Change] with [OpNone] first where there is none yet. It follows the
// whole map of this name; changes of other keys are left out.
func (v *Value) Watch(ctx context.Context) iter.Seq2[Change, error] {
	return v.entry().watch(ctx, func(key string) bool { return key == "" })
}
