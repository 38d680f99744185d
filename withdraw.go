package lockstep

import (
	"context"
	"errors"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Withdrawal (S4): a claim that its caller gave up on may have been made, or
// may yet be made by a request that is still on its way. It is removed in the
// background with a context of its own; again while a straggler may arrive;
// and at worst it ends with its session, for it is no longer renewed by name.

// withdraw removes claims from their lines in the background. What it returns
// is closed when they are gone for good as far as this client can know.
func (s *session) withdraw(claims ...*claim) (gone <-chan struct{}) {
	return s.c.persist(s.ctx, s.c.opts.ttl, func(ctx context.Context) bool {
		for len(claims) > 0 && s.gone(ctx, claims[0]) {
			claims = claims[1:]
		}
		return len(claims) == 0
	})
}

// gone releases one claim once, and says whether that was the last that is
// needed.
func (s *session) gone(ctx context.Context, cl *claim) bool {
	removed, err := s.es.Release(ctx, &cl.Claim)
	switch {
	case errors.Is(err, engine.ErrSessionEnded), errors.Is(err, engine.ErrClosed):
		return true
	case err != nil:
		return false
	case cl.doubts == 0, cl.doubts == 1 && removed:
		return true // no request is on its way any more
	}
	now := s.c.clock.now()
	if cl.withdrawn.IsZero() {
		cl.withdrawn = now
	}
	return now.Sub(cl.withdrawn) >= s.c.info.Straggle
}

// release gives a held claim back: one request, or the background's where it
// cannot be asked or does not answer.
func (s *session) release(ctx context.Context, cl *claim) error {
	if ctx.Err() == nil {
		removed, err := s.es.Release(ctx, &cl.Claim)
		switch {
		case err == nil && removed:
			if cl.doubts > 0 {
				s.withdraw(cl) // a straggling Acquire must not bring it back
			}
			return nil
		case err == nil, errors.Is(err, engine.ErrSessionEnded):
			return errTaken
		}
	}
	return s.c.await(ctx, s.withdraw(cl))
}

// await waits for the background, or the caller's context, whose end comes first.
func (c *Client) await(ctx context.Context, gone <-chan struct{}) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	select {
	case <-gone:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	}
}

// persist repeats try in the background, each with a quarter of ttl to answer,
// until it succeeds or alive or the client ends. What it returns is closed at
// its end.
func (c *Client) persist(alive context.Context, ttl time.Duration, try func(context.Context) bool) <-chan struct{} {
	end := make(chan struct{})
	started := c.background(func(ctx context.Context) {
		defer close(end)
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(alive, cancel)()
		for failures := 1; ctx.Err() == nil; failures++ {
			once, done := context.WithTimeout(ctx, ttl/4)
			ok := try(once)
			done()
			if ok {
				return
			}
			sleep(ctx, pause(ttl, failures))
		}
	})
	if !started { // the client is closed: the end of its session did it
		close(end)
	}
	return end
}
