package redisengine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// bell is this client's one channel. The scripts of others publish on it when
// they let one of its waiters in. It is subscribed with the first waiter, and
// again whenever the subscription breaks; all waiters then look by themselves,
// for what was published meanwhile nobody heard. While it is broken, scripts see
// that nobody listens and pass this client by. So that this does not begin its first
// wait, it enters no line before it listens.
type bell struct {
	e    *Engine
	ctx  context.Context
	stop context.CancelFunc

	begin sync.Once
	up    atomic.Bool
	tried chan struct{} // closed once it was up, or could not be
	done  sync.WaitGroup
}

func newBell(e *Engine) *bell {
	b := &bell{e: e, tried: make(chan struct{})}
	b.ctx, b.stop = context.WithCancel(context.Background())
	return b
}

// listen makes sure that somebody listens, or goes on trying to; the channel is
// closed once it was up, or could not be.
func (b *bell) listen() <-chan struct{} {
	b.begin.Do(func() {
		if b.ctx.Err() != nil {
			close(b.tried)
			return
		}
		b.done.Go(b.loop)
	})
	return b.tried
}

// listens says whether it was up, or could not be.
func (b *bell) listens() bool {
	select {
	case <-b.tried:
		return true
	default:
		return false
	}
}

func (b *bell) loop() {
	var failures atomic.Int64 // since it was last up
	tried := sync.OnceFunc(func() { close(b.tried) })
	for ; b.ctx.Err() == nil; failures.Add(1) {
		err := b.e.t.Subscribe(b.ctx, b.e.channel(), func() {
			failures.Store(0)
			b.up.Store(true)
			tried()
			b.e.room.tellAll(func(n *news) { n.look = true })
		}, b.e.heard)
		b.up.Store(false)
		tried()
		if b.ctx.Err() == nil {
			b.e.log.Debug("lockstep: the subscription broke; it is made again", "error", err)
			b.pause(failures.Load())
		}
	}
}

// pause doubles from 5 ms to half a second: waiters look at each renewal anyway.
func (b *bell) pause(failures int64) {
	t := time.NewTimer(5 * time.Millisecond << min(failures, 7))
	defer t.Stop()
	select {
	case <-t.C:
	case <-b.ctx.Done():
	}
}

func (b *bell) close() {
	b.stop()
	b.begin.Do(func() {}) // nobody begins any more
	b.done.Wait()
}
