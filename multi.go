package lockstep

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Multi is several locks at once, all or nothing. Nobody deadlocks with it in
// whatever order callers give the names: it tries all at once, keeps those that
// come before the first held one in byte order, waits there, and tries again.
// So it waits only for a name that comes after all it holds. (Queueing for all
// of them at once would deadlock with programs that nest single locks.)
type Multi struct {
	c     *Client
	locks []Lockable
	opts  []LockOption
}

// Lockable is what a Multi takes: a [*Mutex], [RWMutex.Reader],
// [RWMutex.Writer] or [Semaphore.Shares].
type Lockable interface{ request() request }

type lockable request

func (l lockable) request() request { return request(l) }

// Multi is the mutexes of these names.
func (c *Client) Multi(names ...string) *Multi {
	locks := make([]Lockable, len(names))
	for i, name := range names {
		locks[i] = c.Mutex(name)
	}
	return c.MultiOf(locks...)
}

// MultiOf is these locks, which may be of several kinds but all of this client.
func (c *Client) MultiOf(locks ...Lockable) *Multi { return &Multi{c: c, locks: locks} }

// With is the same locks with these options: WithWait bounds the whole of it,
// WithProgress tells of the name that it waits for, the others go to each lock.
func (m *Multi) With(opts ...LockOption) *Multi {
	return &Multi{m.c, m.locks, append(slices.Clone(m.opts), opts...)}
}

// Lock takes all of them or none; errors as [Mutex.Lock].
func (m *Multi) Lock(ctx context.Context) (*MultiLease, error) { return m.acquire(ctx, false) }

// TryLock is Lock that does not wait: [ErrHeld], which names the first one held.
func (m *Multi) TryLock(ctx context.Context) (*MultiLease, error) { return m.acquire(ctx, true) }

// Do runs f while it holds all of them, as [Mutex.Do]; f finds its lease by
// [MultiLeaseFrom].
func (m *Multi) Do(ctx context.Context, f func(context.Context) error) error {
	l, err := m.acquire(ctx, false)
	if err != nil {
		return err
	}
	return m.c.do(ctx, l, f)
}

// part is one of several locks while they are being taken.
type part struct {
	request
	canonical string
	lease     *Lease
	err       error
}

func (m *Multi) acquire(ctx context.Context, try bool) (*MultiLease, error) {
	given, err := m.parts()
	if err != nil {
		return nil, fmt.Errorf("lockstep: lock several: %w", err)
	}
	wait := given[0].opts.wait
	for _, p := range given {
		p.opts.wait = 0 // of all together
	}
	waiting := ctx
	if wait > 0 && !try {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	sorted := slices.Clone(given)
	slices.SortFunc(sorted, func(a, b *part) int { return cmp.Compare(a.canonical, b.canonical) })
	if err := m.take(waiting, sorted, try); err != nil {
		release(ctx, sorted)
		if waiting.Err() != nil && ctx.Err() == nil {
			return nil, m.overdue(ctx, sorted)
		}
		return nil, err
	}
	return newMultiLease(ctx, given), nil
}

// parts checks all that can be checked without asking anybody.
func (m *Multi) parts() ([]*part, error) {
	if m.c == nil {
		return nil, errZero
	}
	if len(m.locks) == 0 {
		return nil, invalidf("no names")
	}
	seen := map[string]bool{}
	parts := make([]*part, len(m.locks))
	for i, lock := range m.locks {
		if lock == nil {
			return nil, errZero
		}
		r := lock.request()
		if r.c != nil && r.c != m.c {
			return nil, invalidf("%q is a lock of another client", r.name)
		}
		if r.err == nil {
			for _, opt := range m.opts {
				opt(&r.opts)
			}
			r.err = checkNote(r.opts.note)
		}
		canonical, err := r.canonical()
		if err != nil {
			return nil, err
		}
		if seen[canonical] {
			return nil, invalidf("%q is given twice; it would wait for itself", r.name)
		}
		seen[canonical] = true
		parts[i] = &part{request: r, canonical: canonical}
	}
	return parts, nil
}

// take gets all of sorted, or returns an error and leaves to the caller to
// release what it got.
func (m *Multi) take(ctx context.Context, sorted []*part, try bool) error {
	for {
		tryAll(ctx, sorted)
		first := slices.IndexFunc(sorted, func(p *part) bool { return p.lease == nil })
		if first < 0 {
			return firstEnded(sorted)
		}
		for _, p := range sorted {
			if p.err != nil && !errors.Is(p.err, ErrHeld) {
				return p.err
			}
		}
		if try {
			return sorted[first].err
		}
		release(ctx, sorted[first+1:])
		if err := sorted[first].lock(ctx); err != nil {
			return err
		}
	}
}

// firstEnded is the error of a lease that was lost while others were waited for.
func firstEnded(parts []*part) error {
	for _, p := range parts {
		if err := p.lease.Err(); err != nil {
			return failed("lock", p.name, err)
		}
	}
	return nil
}

// tryAll tries what is not held yet, all at the same time.
func tryAll(ctx context.Context, parts []*part) {
	var tries sync.WaitGroup
	for _, p := range parts {
		if p.lease == nil {
			tries.Go(func() { p.lease, p.err = p.acquire(ctx, how{op: "lock", try: true}) })
		}
	}
	tries.Wait()
}

func (p *part) lock(ctx context.Context) error {
	p.lease, p.err = p.acquire(ctx, how{op: "lock"})
	return p.err
}

// release gives back what was got, all at the same time.
func release(ctx context.Context, parts []*part) {
	var releases sync.WaitGroup
	for _, p := range parts {
		if p.lease != nil {
			releases.Go(func() { _ = p.lease.Release(ctx) }) // goes on in the background
		}
	}
	releases.Wait()
	for _, p := range parts {
		p.lease = nil
	}
}

// overdue is the error of a WithWait that has passed.
func (m *Multi) overdue(ctx context.Context, sorted []*part) error {
	for _, p := range sorted {
		cl := p.newClaim(ctx, p.canonical, how{})
		err := m.c.stillHeld(ctx, cl)
		if held, ok := errors.AsType[*HeldError](err); ok && len(held.Line.Holders) == 0 {
			continue // not this one
		}
		return failed("lock", p.name, err)
	}
	return failed("lock", sorted[0].name, &HeldError{Line: Line{Name: sorted[0].name}})
}

// MultiLease is the leases of several names. It ends as a whole: one lost is
// all lost.
type MultiLease struct {
	leases []*Lease
	ctx    context.Context // ends with the first of them; has no values
	cancel context.CancelCauseFunc
	values context.Context // of Lock

	mu  sync.Mutex
	err error
}

func newMultiLease(ctx context.Context, parts []*part) *MultiLease {
	ml := &MultiLease{values: ctx}
	ml.ctx, ml.cancel = context.WithCancelCause(context.Background())
	for _, p := range parts {
		ml.leases = append(ml.leases, p.lease)
	}
	for _, l := range ml.leases {
		l.join(ml)
	}
	return ml
}

// join has the lease end ml with it.
func (l *Lease) join(ml *MultiLease) {
	l.mu.Lock()
	l.multi = ml
	err := l.err
	l.mu.Unlock()
	if err != nil {
		ml.end(err)
	}
}

func (ml *MultiLease) end(why error) {
	ml.mu.Lock()
	if ml.err == nil {
		ml.err = why
	}
	ml.mu.Unlock()
	ml.cancel(why)
}

// Lease is the lease on one of the names, or nil.
func (ml *MultiLease) Lease(name string) *Lease {
	for _, l := range ml.leases {
		if l.Name() == name {
			return l
		}
	}
	return nil
}

// Leases are all of them in the order in which the names were given.
func (ml *MultiLease) Leases() []*Lease { return slices.Clone(ml.leases) }

// Context ends with the first lease that ends; see [Lease.Context].
func (ml *MultiLease) Context() context.Context {
	return &leaseContext{Context: ml.ctx, link: &link{multi: ml, outer: ml.values}, values: ml.values}
}

// Attach is [Lease.Attach] for all of them.
func (ml *MultiLease) Attach(ctx context.Context) (context.Context, context.CancelFunc) {
	return attach(ctx, ml.ctx, &link{multi: ml, outer: ctx})
}

// Until is the earliest [Lease.Until].
func (ml *MultiLease) Until() time.Time {
	until := ml.leases[0].Until()
	for _, l := range ml.leases[1:] {
		if u := l.Until(); u.Before(until) {
			until = u
		}
	}
	return until
}

// Err is nil while every lease may be trusted, as [Lease.Err].
func (ml *MultiLease) Err() error {
	for _, l := range ml.leases {
		if l.Err() != nil {
			break // it has ended ml as well
		}
	}
	ml.mu.Lock()
	defer ml.mu.Unlock()
	return ml.err
}

// Release gives all of them back; see [Lease.Release]. One lost is an error.
func (ml *MultiLease) Release(ctx context.Context) error {
	errs := make([]error, len(ml.leases))
	var releases sync.WaitGroup
	for i, l := range ml.leases {
		releases.Go(func() { errs[i] = l.Release(ctx) })
	}
	releases.Wait()
	return errors.Join(errs...)
}
