package lockstep

import (
	"context"
	"iter"
)

// TypedValue is a [Value] that is a T: the entry with the empty key of a
// [TypedMap].
type TypedValue[T any] struct{ m *TypedMap[T] }

// ValueOf is the value of that name as a T, stored as JSON where no encoding is
// chosen.
func ValueOf[T any](c *Client, name string, chosen ...Encoding) *TypedValue[T] {
	return &TypedValue[T]{MapOf[T](c, name, chosen...)}
}

func (v *TypedValue[T]) entry() *TypedMap[T] {
	if v.m == nil {
		return &TypedMap[T]{}
	}
	return v.m
}

// Value is the same value as it is stored.
func (v *TypedValue[T]) Value() *Value { return &Value{v.entry().Map()} }

// Get is the value with its revision; [ErrNotFound] where there is none.
func (v *TypedValue[T]) Get(ctx context.Context) (T, Revision, error) {
	e, err := v.entry().Get(ctx, "")
	return e.Value, e.Revision, err
}

// Put writes it, whatever was there.
func (v *TypedValue[T]) Put(ctx context.Context, value T) (Revision, error) {
	return v.entry().Put(ctx, "", value)
}

// Delete removes it; where there is none, that is no error.
func (v *TypedValue[T]) Delete(ctx context.Context) (Revision, error) {
	return v.entry().Delete(ctx, "")
}

// CompareAndSwap writes it if its revision still is old; 0: if there is none.
// Otherwise it is [ErrConflict], and nothing changed.
func (v *TypedValue[T]) CompareAndSwap(ctx context.Context, old Revision, value T) (Revision, error) {
	return v.entry().CompareAndSwap(ctx, "", old, value)
}

// Update makes of it what f makes of it, as [TypedMap.Update] does.
func (v *TypedValue[T]) Update(ctx context.Context, f func(old T) (T, error)) (T, error) {
	return v.entry().Update(ctx, "", f)
}

// Watch yields the value as it is, and then every change of it, as [Value.Watch]
// does.
func (v *TypedValue[T]) Watch(ctx context.Context) iter.Seq2[TypedChange[T], error] {
	return v.entry().typed(v.Value().Watch(ctx))
}
