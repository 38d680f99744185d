package lockstep

import (
	"context"

	"github.com/lockstep-go/lockstep/engine"
)

// RWMutex is any number of readers or one writer. The line is fair: a reader
// that comes after a waiting writer waits for it, so neither side starves. Like
// [Mutex] it is a stateless handle.
type RWMutex struct{ read, write request }

// RWMutex is the read-write lock of that name.
func (c *Client) RWMutex(name string, opts ...LockOption) *RWMutex {
	return &RWMutex{
		read:  c.newRequest(name, engine.ReadWrite, 1, engine.Unlimited, opts),
		write: c.newRequest(name, engine.ReadWrite, engine.Unlimited, engine.Unlimited, opts),
	}
}

// Lock takes it for writing; errors as [Mutex.Lock].
func (m *RWMutex) Lock(ctx context.Context) (*Lease, error) {
	return m.write.acquire(ctx, how{op: "lock"})
}

// TryLock is Lock that does not wait: [ErrHeld].
func (m *RWMutex) TryLock(ctx context.Context) (*Lease, error) {
	return m.write.acquire(ctx, how{op: "try to lock", try: true})
}

// Do runs f while it holds the lock for writing, as [Mutex.Do].
func (m *RWMutex) Do(ctx context.Context, f func(context.Context) error) error {
	return m.write.do(ctx, f)
}

// RLock takes it for reading; errors as [Mutex.Lock].
func (m *RWMutex) RLock(ctx context.Context) (*Lease, error) {
	return m.read.acquire(ctx, how{op: "lock for reading"})
}

// TryRLock is RLock that does not wait: [ErrHeld].
func (m *RWMutex) TryRLock(ctx context.Context) (*Lease, error) {
	return m.read.acquire(ctx, how{op: "try to lock for reading", try: true})
}

// RDo runs f while it holds the lock for reading, as [Mutex.Do].
func (m *RWMutex) RDo(ctx context.Context, f func(context.Context) error) error {
	return m.read.do(ctx, f)
}

// Reader is the read side, for [Client.MultiOf].
func (m *RWMutex) Reader() Lockable { return lockable(m.read) }

// Writer is the write side, for [Client.MultiOf].
func (m *RWMutex) Writer() Lockable { return lockable(m.write) }
