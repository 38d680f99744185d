package engine

import (
	"context"
	"iter"
	"time"
)

// Info is what an engine can do. It never changes.
type Info struct {
	Engine      string // "memory", "file", "redis", …
	FIFO        bool   // first come, first served (S7)
	Store       bool   // Engine.Store is not nil
	EveryChange bool   // Store.Watch merges nothing
	EveryTerm   bool   // WatchLine merges nothing
	Kinds       []Kind // what Acquire takes
	FixedTerm   bool   // Claim.Term is honoured
	// MaxTerm is the longest Claim.Term, a longer one is ErrInvalid; 0: no limit of its own.
	MaxTerm    time.Duration
	Pass       bool   // Session.Pass is honoured
	TokenOrder string // "name" or "engine": among which grants tokens compare
	MaxValue   int    // bytes of one value
	MaxTx      int    // bytes of one commit, keys and values; 0: no limit of its own
	MaxOps     int    // entries and conditions of one commit; 0: no limit of its own
	// Straggle is how long a request may arrive after its caller gave up; 0 only
	// where a Release is carried out after every Acquire that was sent before it.
	Straggle time.Duration
	// Suspend: the engine's clock runs on while this machine is suspended, as
	// that of every remote engine does. The core then counts that time as well.
	Suspend bool
	// Weaker is what this engine cannot promise on this platform, a sentence each.
	Weaker []string
}

// Engine is one service. Safe for concurrent use, as is all below it.
type Engine interface {
	Info() Info

	// CheckName says whether this engine takes the name, and how it knows it:
	// two spellings of one place have one canonical name. The core has checked
	// DESIGN's common limits before. ErrInvalid says which rule was broken.
	// It asks nobody.
	CheckName(name string) (canonical string, err error)

	// Begin starts a session.
	//
	//  1. Make an identity that was never used before, or, where the engine
	//     keeps nothing of a session but its claims, lean on their ids.
	//  2. Have the engine forget it o.TTL after the last Renew that it saw. The
	//     engine may grant another TTL and say so in Session.TTL.
	//  3. Begin is the one call that is not repeated: a session whose reply was
	//     lost ends by itself.
	//
	// The caller took the time before: its trust window runs from then.
	Begin(ctx context.Context, o SessionOptions) (Session, error)

	// Line, WatchLine, Names and Remove need no session: they outlive any.

	// Line is the present line of a name. A name that nobody uses has an empty
	// one and no error. Claims of sessions that have ended are not in it.
	Line(ctx context.Context, name string) (Line, error)

	// WatchLine yields the line now and after every change.
	//
	//  1. Take note of where the engine stands, then read and yield the line.
	//  2. After a change, read and yield it again. Lines in between may be
	//     merged (unless Info.EveryTerm), the newest always arrives.
	//  3. At the first interruption yield an error and end: the core calls again.
	//
	// The end of ctx ends it with ctx's error.
	WatchLine(ctx context.Context, name string) iter.Seq2[Line, error]

	// Names yields every name with a claim that begins with prefix, once, in
	// any order, page by page. An error ends it. Foreign claims are among them
	// where they can be told from other data.
	Names(ctx context.Context, prefix string) iter.Seq2[string, error]

	// Remove ends the claim with this id whoever made it, held or waiting, and
	// lets the next in, as its Release would. No such claim: nil.
	Remove(ctx context.Context, name string, id ClaimID) error

	// Store is the engine's store; nil where Info.Store is false, and the core
	// then answers ErrUnsupported.
	Store() Store

	// Close frees what the engine holds of this machine; every session has
	// ended before. Watches that still run and calls after it return ErrClosed.
	// Closing twice is no error.
	Close() error
}

// Clock is implemented by engines inside this process whose time a test moves: the
// core reads the time there. It still sleeps by timers; a Lost of an unknown claim
// has it look at the clock.
type Clock interface {
	Now() time.Time // with its monotonic reading
}
