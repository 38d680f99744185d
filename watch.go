package lockstep

import (
	"bytes"
	"context"
	"iter"
)

// A watch is three things: the upstream (watch_upstream.go), one per map and
// client, which follows the engine and works out what changed; the list of
// batches that it publishes (watch_list.go); and any number of watchers, each
// walking along the list at its own pace, which is here.

// Op is what a [Change] did to its key.
type Op uint8

// What a change can be.
const (
	OpNone   Op = iota // to no key: an empty snapshot, or a resync without a difference
	OpPut              // the key has a new value
	OpDelete           // the key is gone
)

// String is "none", "put" or "delete".
func (o Op) String() string {
	switch o {
	case OpPut:
		return "put"
	case OpDelete:
		return "delete"
	default:
		return "none"
	}
}

// Change is one step of a watch.
type Change struct {
	Key      string
	Value    []byte   // the receiver's own
	Revision Revision // of the entry; of a deletion or OpNone: the map's
	Op       Op

	// Synced: the last change of its commit, snapshot or resync. What was
	// yielded up to here is the map as it was at one moment.
	Synced bool
	// Snapshot: part of the state that the watch begins with.
	Snapshot bool
	// Resync: part of a difference. Changes in between are missing, because the
	// engine could not show them or this watcher was too slow.
	Resync bool
}

// Watch yields the map as it is, and then what changes (S9): in revision order,
// nothing twice, and at the end of any number of changes the last state of every
// key, deletions included. The entries of the snapshot come in order of their
// keys. An empty snapshot, and a resync without a difference, are one change
// with OpNone.
//
// A watch waits for an engine that cannot be reached, and resumes after an
// interruption, without an error. Where changes were missed meanwhile, what
// differs is yielded and marked Resync. That is also so for a watcher that lags
// by more than some 1,000 commits or 8 MiB: its pending changes are merged, and
// it holds no more than what differs. Revisions fall only where the engine lost
// its data: then the resync leads to what the engine has now.
//
// All watchers of a map in one client share one watch at the engine, and a copy
// of the map. One that joins the others begins with the state that they have
// reached: a write just made may follow the snapshot instead of being in it, and
// while the engine cannot be reached that state is as old as theirs.
//
// It ends after its first error: that of ctx, [ErrClosed], or an answer of the
// engine's that no repetition changes ([ErrInvalid], [ErrMismatch],
// [ErrUnsupported], or [ErrUnavailable] where the engine is not usable). A loop
// may be left at any time.
func (m *Map) Watch(ctx context.Context) iter.Seq2[Change, error] { return m.watch(ctx, nil) }

// watch leaves out the keys that are not wanted; nil: none.
func (m *Map) watch(ctx context.Context, wanted func(key string) bool) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		s, err := m.subscribe()
		if err != nil {
			yield(Change{}, m.failed("watch", "", err))
			return
		}
		defer s.leave()
		for {
			b, err := s.next(ctx)
			if err != nil {
				yield(Change{}, m.failed("watch", "", err))
				return
			}
			for change := range b.only(wanted).changes() {
				if ctx.Err() != nil {
					break // next says so
				}
				if !yield(change, nil) {
					return
				}
			}
		}
	}
}

// only is what a batch says of the wanted keys.
func (b *batch) only(wanted func(key string) bool) *batch {
	if wanted == nil {
		return b
	}
	narrow := &batch{kind: b.kind, revision: b.revision}
	for _, d := range b.deltas {
		if wanted(d.Key) {
			narrow.deltas = append(narrow.deltas, d)
		}
	}
	return narrow
}

// changes are the batch as users see it, with values of their own.
func (b *batch) changes() iter.Seq[Change] {
	return func(yield func(Change) bool) {
		base := Change{Revision: b.revision, Snapshot: b.kind == snapshot, Resync: b.kind == resync}
		if len(b.deltas) == 0 && b.kind != commit {
			base.Synced = true
			yield(base)
			return
		}
		for i, d := range b.deltas {
			change := base
			change.Key, change.Revision, change.Op = d.Key, d.Revision, OpPut
			change.Synced = i == len(b.deltas)-1
			if d.Deleted {
				change.Op = OpDelete
			} else {
				change.Value = bytes.Clone(d.Value)
			}
			if !yield(change) {
				return
			}
		}
	}
}
