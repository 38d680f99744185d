package engine

import (
	"context"
	"iter"
	"time"
)

// Revision rises with every commit to a map; 0: before everything.
type Revision uint64

// Stale is for how long a watch may be silent. It is no session's TTL: a store
// knows of no session.
const Stale = 10 * time.Second

// Store is revisioned entries in named maps. What its methods return belongs to
// the caller; what they are given stays the caller's.
type Store interface {
	// List returns a whole map as it was at one revision (Full is set). Where
	// Info.EveryChange is false an entry may be newer than that, never older.
	// Entries come in byte order of their keys. An unused map is empty.
	List(ctx context.Context, m string) (Event, error)

	// Get is one entry; ErrNotFound where there is none.
	Get(ctx context.Context, m, key string) (Entry, error)

	// Commit does all of tx or nothing.
	//
	//  1. With an ID that was committed within the last hour: answer as then,
	//     change nothing.
	//  2. A condition that does not hold: ErrConflict, nothing changes, and the
	//     ID is not remembered.
	//  3. Write and delete. The map's revision rises; every entry written has
	//     the new one. A deletion of a key that is not there changes nothing,
	//     and a tx that changes nothing makes no event: it returns a revision
	//     at which the map was as it is.
	//  4. What was answered is durable as far as the engine's page says.
	Commit(ctx context.Context, m string, tx Tx) (Revision, error)

	// Watch yields commits after `after`, in order.
	//
	//  1. Where the engine can show every change after `after`, go on from
	//     there. Where it cannot (0, a gap, a store that keeps no log) the first
	//     event is Full: the whole map as it is now. An `after` that the map has
	//     not reached (the engine lost its data) is a gap.
	//  2. One Event per commit (several may be one where Info.EveryChange is
	//     false), deletions included, each revision once and rising (S9): that
	//     of a deletion is greater than that of the entry it deletes.
	//  3. At the first interruption yield an error and end: the core calls again.
	//  4. While it is known that nothing changed, yield an event without entries
	//     that is not Full, "still current", at least every [Stale]/3. It has the
	//     revision of the event before. The core ends ctx after [Stale] of
	//     silence and calls again: a connection that died without a word is
	//     noticed here, once for all engines.
	//
	// The end of ctx ends it with ctx's error.
	Watch(ctx context.Context, m string, after Revision) iter.Seq2[Event, error]
}

// Entry is one key of a map.
type Entry struct {
	Key      string
	Value    []byte
	Revision Revision // of the commit that wrote it
	Deleted  bool
}

// Event is a whole map (Full) or one commit's changes.
type Event struct {
	Revision Revision
	Full     bool
	Entries  []Entry
}

// Tx is one commit.
type Tx struct {
	ID  string // up to 64 bytes; "": the commit is not repeatable
	If  []Cond
	Put []Entry // Deleted deletes; Revision is ignored; each key once
}

// Cond holds when the key's revision is Revision; 0: there is no such key.
type Cond struct {
	Key      string
	Revision Revision
}
