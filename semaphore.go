package lockstep

import (
	"context"

	"github.com/lockstep-go/lockstep/engine"
)

// Semaphore is a number of slots that holders share by weight. The line is
// fair: a heavy waiter is not overtaken by light ones, so slots may idle for a
// while until its weight fits. Like [Mutex] it is a stateless handle.
type Semaphore struct {
	r request
}

// Semaphore is the semaphore of that name with n slots. All who use the name at
// one time must give the same n: others get [ErrMismatch], which names both.
func (c *Client) Semaphore(name string, n int, opts ...LockOption) *Semaphore {
	return &Semaphore{c.newRequest(name, engine.Semaphore, 0, n, opts)}
}

// Acquire takes weight slots; errors as [Mutex.Lock], and [ErrInvalid] for a
// weight below 1 or over the limit.
func (s *Semaphore) Acquire(ctx context.Context, weight int) (*Lease, error) {
	return s.weighing(weight).acquire(ctx, how{op: "acquire"})
}

// TryAcquire is Acquire that does not wait: [ErrHeld].
func (s *Semaphore) TryAcquire(ctx context.Context, weight int) (*Lease, error) {
	return s.weighing(weight).acquire(ctx, how{op: "try to acquire", try: true})
}

// Do runs f while it holds weight slots, as [Mutex.Do].
func (s *Semaphore) Do(ctx context.Context, weight int, f func(context.Context) error) error {
	return s.weighing(weight).do(ctx, f)
}

// Shares is that many slots of it, for [Client.MultiOf].
func (s *Semaphore) Shares(weight int) Lockable { return lockable(s.weighing(weight)) }

func (s *Semaphore) weighing(weight int) request {
	r := s.r
	r.shares = weight
	return r
}
