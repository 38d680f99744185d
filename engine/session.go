package engine

import (
	"context"
	"os"
	"time"
)

// SessionOptions are what a session is begun with.
type SessionOptions struct {
	TTL time.Duration // 1 s … 24 h, checked by the core
	// Lost is called as soon as the engine learns that a claim of this session
	// is gone; "" means all of them. It never blocks, and is never needed:
	// Renew reports the same later. May be nil.
	Lost func(id ClaimID, why error)
}

// Session is one client's presence.
type Session interface {
	TTL() time.Duration // as granted

	// Renew keeps the session and these claims, waiting and held, alive for TTL
	// from when the engine sees it. The core passes all it has begun and not
	// finished: a claim that it waits for may not have reached the engine yet.
	//
	//  1. Prolong the session only if it still lives: one that the engine has
	//     let go of is never brought back. ErrSessionEnded: all claims are lost.
	//  2. Prolong a claim only if it is still this claim, by its own id (S3).
	//     One that is gone goes to Renewal.Lost; one that could not be asked to
	//     Renewal.Unsure. A claim in neither is renewed. Lost of a
	//     claim that is not held yet has the core end its Acquire and look
	//     again for its place: a false alarm costs one round trip.
	//  3. Where the engine can tell what the session owns, remove a claim that
	//     it owned at two Renews in a row, at least TTL/4 apart, and that was in
	//     claims of neither: one seen once may have been made since claims was
	//     put together, and two at once may be one that was sent twice.
	//  4. What is answered holds for grants that were returned before Renew was
	//     called: the core applies it to no later one.
	//
	// An engine that keeps nothing of a session but its claims never answers
	// ErrSessionEnded; Lost then lists all. Any other error: nothing is known of
	// any claim.
	Renew(ctx context.Context, claims []*Claim) (Renewal, error)

	// End lets go of all claims without a Term, in one step where it can, lets
	// the next in, and frees what the session holds of this machine. claims are
	// those that the core has begun and not finished; no Acquire and no Renew of
	// the session is under way. A repeat is no error.
	End(ctx context.Context, claims []*Claim) error

	// Acquire enters the line and waits for the grant, or the end of ctx.
	//
	//  1. again: an earlier Acquire of this claim ended in doubt, so look for
	//     its id first. In line it goes on from its place; granted it is
	//     confirmed, with its token or (where the token is of the moment when
	//     the grant was observed) a greater one; not there it enters as if new.
	//  2. A line of another kind or limit: *MismatchError, nothing is left.
	//  3. Try, and it cannot be granted at once: *HeldError, nothing is left.
	//  4. Otherwise it enters at the end of the line, and is granted when no
	//     earlier claim still waits and its shares fit beside those granted:
	//     the granted are the longest prefix of the line that fits the limit.
	//  5. It is told of its grant; it does not poll (S8).
	//  6. Before the grant is reported, see that claim and session still live
	//     (S5). ErrNotFound: the claim was in line and is gone.
	//     ErrSessionEnded: at once, not when its turn comes.
	//
	// The claim stays in line after any error but ErrHeld, ErrMismatch,
	// ErrInvalid, ErrUnsupported and ErrNotFound: the core releases it.
	Acquire(ctx context.Context, c *Claim, again bool) (Grant, error)

	// Release ends the claim, waiting or held, by its own id (S3), lets the
	// next in and disturbs nobody else's place (S6). It says whether there was
	// such a claim. After ErrSessionEnded there is none.
	Release(ctx context.Context, c *Claim) (removed bool, err error)

	// SetNote replaces what others see of the claim; one that arrives late does
	// not undo a later one. ErrNotFound: it is gone.
	SetNote(ctx context.Context, c *Claim, note []byte) error

	// Pass releases c and grants the waiting claim `to` next. ErrNotFound: to
	// (or c) is not in line, and nothing changed. A repeat after success finds
	// c gone and `to` granted, and is a success.
	Pass(ctx context.Context, c *Claim, to ClaimID) error
}

// Renewal is what a successful Renew found. What it does not list is renewed.
type Renewal struct {
	// Proven is where the window runs from; zero: from when this Renew was
	// called. It is a time on this process's clock with its monotonic reading,
	// not before Begin was called, and may lie before this call (ZooKeeper).
	Proven time.Time
	TTL    time.Duration // of this reply; zero: Session.TTL()
	Lost   []ClaimID     // gone, or another's
	Unsure []ClaimID     // could not be asked (one master of a cluster is away)
}

// Liveness is implemented by sessions whose life is bound to an open file of
// this machine. A process that holds a duplicate of it keeps the session from
// ending when this process ends; the session's TTL goes on as before.
type Liveness interface {
	// LivenessFile is a duplicate that the caller closes.
	LivenessFile() (*os.File, error)
}
