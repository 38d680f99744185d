package goredis

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// go-redis makes a subscription that broke again by itself, and what was published
// meanwhile is missed without a word. So here the first sign of that ends it, and
// the engine, which then looks at what it may have missed, begins another. A
// connection that died without a sign is found by asking: a server answers PING
// among the messages.
const pingEvery = 3 * time.Second

var (
	errSilent = errors.New("the subscription's connection does not answer")
	errAgain  = errors.New("the subscription was interrupted")
)

// Subscribe listens until ctx ends or the connection breaks. It does not wait for
// go-redis, which obeys no context while it connects; but nothing is passed on once
// it has returned.
func (t *transport) Subscribe(ctx context.Context, channel string, up func(), message func(string)) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var passing gate
	defer passing.shut()
	listens := t.begin(func() {
		t.listen(inner, cancel, channel, func() { passing.through(up) }, func(payload string) {
			passing.through(func() { message(payload) })
		})
	})
	if !listens {
		return errClosed
	}
	select {
	case <-inner.Done():
	case <-t.closed.Done():
		return errClosed
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return translate(ctx, context.Cause(inner))
}

// gate lets calls through until it is shut, which waits for the one inside.
type gate struct {
	mu     sync.Mutex
	isShut bool
}

func (g *gate) through(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.isShut {
		f()
	}
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.isShut = true
}

// listen owns the subscription, and ends ctx with the reason for its own end. The
// end of ctx closes the connection: a read obeys no context.
func (t *transport) listen(ctx context.Context, cancel context.CancelCauseFunc, channel string, up func(), message func(string)) {
	sub := t.client.Subscribe(ctx, channel)
	var parts sync.WaitGroup
	defer parts.Wait()
	parts.Go(func() {
		<-ctx.Done()
		_ = sub.Close()
	})
	var heard atomic.Bool
	parts.Go(func() { watch(ctx, cancel, sub, &heard, t.pingEvery) })
	cancel(receive(ctx, sub, &heard, up, message))
}

// receive passes on what comes, to the first error.
func receive(ctx context.Context, sub *redis.PubSub, heard *atomic.Bool, up func(), message func(string)) error {
	isUp := false
	for {
		got, err := sub.Receive(ctx)
		if err != nil {
			return err
		}
		heard.Store(true)
		switch got := got.(type) {
		case *redis.Subscription:
			if isUp {
				return errAgain
			}
			isUp = true
			up()
		case *redis.Message:
			message(got.Payload)
		}
	}
}

// watch asks whether the connection lives where nothing was heard, and ends what
// does not answer.
func watch(ctx context.Context, cancel context.CancelCauseFunc, sub *redis.PubSub, heard *atomic.Bool, every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for asked := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch {
		case heard.Swap(false):
			asked = false
		case asked:
			cancel(errSilent)
			return
		default:
			asked = true
			if err := sub.Ping(ctx); err != nil {
				cancel(err)
				return
			}
		}
	}
}
