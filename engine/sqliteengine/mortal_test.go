package sqliteengine

import (
	"context"
	"iter"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

// mortal is the engine of a child that kills itself, as kill -9 does, at one of its
// calls: before the engine carries it out, or after.
type mortal struct {
	engine.Engine

	mu    sync.Mutex
	calls int
	at    int // 0: never
	after bool
}

// dieAt passes a call on, unless it is the last.
func dieAt[T any](m *mortal, do func() (T, error)) (T, error) {
	m.mu.Lock()
	m.calls++
	last := m.calls == m.at
	m.mu.Unlock()
	if last && !m.after {
		die()
	}
	answer, err := do()
	if last {
		die()
	}
	return answer, err
}

// dieAtItem is the same for what yields: one call, with its first item.
func dieAtItem[T any](m *mortal, items iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		first := true
		for item, err := range items {
			if first {
				dieAt(m, func() (struct{}, error) { return struct{}{}, nil })
				first = false
			}
			if !yield(item, err) {
				return
			}
		}
	}
}

func die() {
	if p, err := os.FindProcess(os.Getpid()); err == nil {
		p.Kill()
	}
	select {} // until it is true
}

func (m *mortal) made() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.calls
}

func (m *mortal) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	s, err := dieAt(m, func() (engine.Session, error) { return m.Engine.Begin(ctx, o) })
	if err != nil {
		return nil, err
	}
	return mortalSession{s, m}, nil
}

func (m *mortal) Line(ctx context.Context, name string) (engine.Line, error) {
	return dieAt(m, func() (engine.Line, error) { return m.Engine.Line(ctx, name) })
}

func (m *mortal) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return dieAtItem(m, m.Engine.WatchLine(ctx, name))
}

func (m *mortal) Store() engine.Store { return mortalStore{m.Engine.Store(), m} }

type mortalSession struct {
	engine.Session
	m *mortal
}

func (s mortalSession) Acquire(ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
	return dieAt(s.m, func() (engine.Grant, error) { return s.Session.Acquire(ctx, c, again) })
}

func (s mortalSession) Release(ctx context.Context, c *engine.Claim) (bool, error) {
	return dieAt(s.m, func() (bool, error) { return s.Session.Release(ctx, c) })
}

type mortalStore struct {
	engine.Store
	m *mortal
}

func (s mortalStore) List(ctx context.Context, name string) (engine.Event, error) {
	return dieAt(s.m, func() (engine.Event, error) { return s.Store.List(ctx, name) })
}

func (s mortalStore) Get(ctx context.Context, name, key string) (engine.Entry, error) {
	return dieAt(s.m, func() (engine.Entry, error) { return s.Store.Get(ctx, name, key) })
}

func (s mortalStore) Commit(ctx context.Context, name string, tx engine.Tx) (engine.Revision, error) {
	return dieAt(s.m, func() (engine.Revision, error) { return s.Store.Commit(ctx, name, tx) })
}

func (s mortalStore) Watch(ctx context.Context, name string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return dieAtItem(s.m, s.Store.Watch(ctx, name, after))
}

// The rollout that children vote on, and the programs that they are.
const voteDeadline = 300 * time.Millisecond

func rollout(c *lockstep.Client) *lockstep.Ballot {
	return c.Ballot("rollout", lockstep.AnyVoters(5)).Deadline(voteDeadline)
}

func program(e engine.Engine) (*lockstep.Client, error) {
	return lockstep.New(e, lockstep.WithLogger(slog.New(slog.DiscardHandler)))
}

// runOnce is a child's part in a job that one of many runs.
func runOnce(ctx context.Context, m *mortal, result string) (string, error) {
	c, err := program(m)
	if err != nil {
		return "", err
	}
	defer c.Close()
	r, err := c.Once("job").Do(ctx, func(context.Context) ([]byte, error) {
		return dieAt(m, func() ([]byte, error) { return []byte(result), nil })
	})
	return string(r), err
}

// castVote is a child's part in the rollout.
func castVote(ctx context.Context, m *mortal, id, choice string) error {
	c, err := program(m)
	if err != nil {
		return err
	}
	defer c.Close()
	if _, err := rollout(c).Vote(ctx, id, choice); err != nil {
		return err
	}
	_, err = rollout(c).Decision(ctx)
	return err
}
