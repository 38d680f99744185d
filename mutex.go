package lockstep

import (
	"context"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Mutex is one holder at a time. It is a stateless handle: any number of
// goroutines may use one, and each Lock is a claim of its own, so two goroutines
// exclude each other as two programs do. It is not reentrant.
//
// On engines whose service has a convention for locks, a Mutex uses that very
// layout and excludes the programs that keep to it.
type Mutex struct{ r request }

// Mutex is the mutex of that name.
func (c *Client) Mutex(name string, opts ...LockOption) *Mutex {
	return &Mutex{c.newRequest(name, engine.Mutex, 1, 1, opts)}
}

// Lock waits until nobody who came before holds the name or waits for it, or
// until ctx ends.
//
// Errors: the context's; [ErrHeld] after [WithWait]; [ErrUnavailable];
// [ErrLost] if the session was lost while waiting; [ErrMismatch];
// [ErrInvalid], also where ctx already holds the name.
func (m *Mutex) Lock(ctx context.Context) (*Lease, error) {
	return m.r.acquire(ctx, how{op: "lock"})
}

// TryLock does not wait: [ErrHeld], a [*HeldError], says who holds the name.
func (m *Mutex) TryLock(ctx context.Context) (*Lease, error) {
	return m.r.acquire(ctx, how{op: "try to lock", try: true})
}

// LockFor is Lock for a fixed term, from [MinTerm] to [MaxTerm]: the lease is
// not renewed, outlives this client and this process, and ends by itself, or
// with Release. For what must not run twice within d, wherever it runs.
// [ErrUnsupported] where the engine has no such claims.
func (m *Mutex) LockFor(ctx context.Context, d time.Duration) (*Lease, error) {
	return m.lockFor(ctx, how{op: "lock for a term", term: d})
}

// TryLockFor is LockFor that does not wait.
func (m *Mutex) TryLockFor(ctx context.Context, d time.Duration) (*Lease, error) {
	return m.lockFor(ctx, how{op: "try to lock for a term", term: d, try: true})
}

func (m *Mutex) lockFor(ctx context.Context, h how) (*Lease, error) {
	if err := checkTerm(h.term); err != nil {
		return nil, failed(h.op, m.r.name, err)
	}
	if m.r.c != nil && !m.r.c.info.FixedTerm {
		return nil, failed(h.op, m.r.name, ErrUnsupported)
	}
	return m.r.acquire(ctx, h)
}

// Do runs f while it holds the lock. f's context ends with ctx and when the
// lock is lost, and carries the lease: [TokenFrom], [LeaseFrom]. The error is
// f's, joined with [ErrLost] if the lock was lost while f ran.
func (m *Mutex) Do(ctx context.Context, f func(context.Context) error) error {
	return m.r.do(ctx, f)
}

func (m *Mutex) request() request { return m.r }

// do is Do of every lock that is one claim.
func (r request) do(ctx context.Context, f func(context.Context) error) error {
	l, err := r.acquire(ctx, how{op: "lock"})
	if err != nil {
		return err
	}
	return r.c.do(ctx, l, f)
}
