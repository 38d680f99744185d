package main

import (
	"context"
	"errors"
	"log/slog"
	"strconv"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
)

// Every contender keeps its files in a folder of its own below this.
const lockName = "bench/lock"

// client is Lockstep on an engine that it owns.
type client struct {
	*lockstep.Client

	engine engine.Engine
}

func newClient(e engine.Engine, opts ...lockstep.Option) (*client, error) {
	c, err := lockstep.New(e, append(opts, lockstep.WithLogger(nil))...)
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return &client{c, e}, nil
}

func (c *client) close() error { return errors.Join(c.Client.Close(), c.engine.Close()) }

// fileEngine opens the file engine as a user does, but for its log.
func fileEngine(dir string) (*sqliteengine.Engine, error) {
	return sqliteengine.Open(context.Background(), dir, sqliteengine.WithLogger(slog.New(slog.DiscardHandler)))
}

func fileClient(dir string) (*client, error) {
	e, err := fileEngine(dir)
	if err != nil {
		return nil, err
	}
	return newClient(e)
}

// cycle is a Lock and its Release.
func (c *client) cycle(m *lockstep.Mutex) func() error {
	ctx := context.Background()
	return func() error {
		lease, err := m.Lock(ctx)
		if err != nil {
			return err
		}
		return lease.Release(ctx)
	}
}

// bare is an engine's session without the core: what it does is the engine's
// price, and what Lockstep takes beyond it the core's.
type bare struct {
	engine  engine.Engine
	session engine.Session
	made    int
}

func newBare(e engine.Engine) (*bare, error) {
	s, err := e.Begin(context.Background(), engine.SessionOptions{TTL: lockstep.DefaultTTL})
	if err != nil {
		return nil, errors.Join(err, e.Close())
	}
	return &bare{engine: e, session: s}, nil
}

func (b *bare) cycle() error {
	c := b.claim(lockName)
	ctx := context.Background()
	if _, err := b.session.Acquire(ctx, c, false); err != nil {
		return err
	}
	_, err := b.session.Release(ctx, c)
	return err
}

func (b *bare) claim(name string) *engine.Claim {
	b.made++
	return &engine.Claim{
		ID: engine.ClaimID("claim-" + strconv.Itoa(b.made)), Name: name, Kind: engine.Mutex, Shares: 1, Limit: 1,
		Note: []byte("a note as long as the core's default is"),
	}
}

func (b *bare) close() error {
	return errors.Join(b.session.End(context.Background(), nil), b.engine.Close())
}

// renewedLoop is a loop of a bare session, which nobody renews while it is under way.
type renewedLoop struct {
	loop
	b *bare
}

func (l renewedLoop) sample() (float64, error) {
	if _, err := l.b.session.Renew(context.Background(), nil); err != nil {
		return 0, err
	}
	return l.loop.sample()
}

func bareContender(name string, n int, open func(b *bench) (engine.Engine, error)) contender {
	return contender{name, func(b *bench) (sampler, error) {
		e, err := open(b)
		if err != nil {
			return nil, err
		}
		s, err := newBare(e)
		if err != nil {
			return nil, err
		}
		return renewedLoop{loop{n: b.count(n), op: s.cycle, done: s.close}, s}, nil
	}}
}

func lockstepContender(n int, open func(b *bench) (engine.Engine, error)) contender {
	return contender{"Lockstep", func(b *bench) (sampler, error) {
		e, err := open(b)
		if err != nil {
			return nil, err
		}
		c, err := newClient(e)
		if err != nil {
			return nil, err
		}
		return loop{n: b.count(n), op: c.cycle(c.Mutex(lockName)), done: c.close}, nil
	}}
}
