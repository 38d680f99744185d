package enginetest

import (
	"context"
	"iter"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// brokenEngine is an engine with some calls replaced; the nil ones are not.
type brokenEngine struct {
	engine.Engine
	session brokenSession // a pattern for its sessions
	store   brokenStore   // likewise

	begin     func(o *engine.SessionOptions)
	watchLine func(ctx context.Context, name string) iter.Seq2[engine.Line, error]
	names     func(ctx context.Context, prefix string) iter.Seq2[string, error]
	remove    func() error
	close     func() error
}

type brokenSession struct {
	engine.Session
	engine  *brokenEngine
	ttl     time.Duration
	acquire func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error)
	release func(s *brokenSession, ctx context.Context, c *engine.Claim) (bool, error)
	renew   func(s *brokenSession, ctx context.Context, claims []*engine.Claim) (engine.Renewal, error)
	end     func() error
	setNote func() error
	pass    func(s *brokenSession, ctx context.Context, c *engine.Claim) error
}

type brokenStore struct {
	engine.Store
	commit func(tx *engine.Tx)
	watch  func(ev *engine.Event) (times int)
}

func (e *brokenEngine) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	ttl := o.TTL
	if e.begin != nil {
		e.begin(&o)
	}
	inner, err := e.Engine.Begin(ctx, o)
	if err != nil {
		return nil, err
	}
	s := e.session
	s.Session, s.engine, s.ttl = inner, e, ttl
	return &s, nil
}

func (e *brokenEngine) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	if e.watchLine != nil {
		return e.watchLine(ctx, name)
	}
	return e.Engine.WatchLine(ctx, name)
}

func (e *brokenEngine) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	if e.names != nil {
		return e.names(ctx, prefix)
	}
	return e.Engine.Names(ctx, prefix)
}

func (e *brokenEngine) Remove(ctx context.Context, name string, id engine.ClaimID) error {
	if e.remove != nil {
		return e.remove()
	}
	return e.Engine.Remove(ctx, name, id)
}

func (e *brokenEngine) Store() engine.Store {
	s := e.store
	s.Store = e.Engine.Store()
	return &s
}

func (e *brokenEngine) Close() error {
	if e.close != nil {
		return e.close()
	}
	return e.Engine.Close()
}

func (s *brokenSession) TTL() time.Duration { return s.ttl }

func (s *brokenSession) Acquire(ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
	if s.acquire != nil {
		return s.acquire(s, ctx, c, again)
	}
	return s.Session.Acquire(ctx, c, again)
}

func (s *brokenSession) Release(ctx context.Context, c *engine.Claim) (bool, error) {
	if s.release != nil {
		return s.release(s, ctx, c)
	}
	return s.Session.Release(ctx, c)
}

func (s *brokenSession) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	if s.renew != nil {
		return s.renew(s, ctx, claims)
	}
	return s.Session.Renew(ctx, claims)
}

func (s *brokenSession) End(ctx context.Context, claims []*engine.Claim) error {
	if s.end != nil {
		return s.end()
	}
	return s.Session.End(ctx, claims)
}

func (s *brokenSession) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	if s.setNote != nil {
		return s.setNote()
	}
	return s.Session.SetNote(ctx, c, note)
}

func (s *brokenSession) Pass(ctx context.Context, c *engine.Claim, to engine.ClaimID) error {
	if s.pass != nil {
		return s.pass(s, ctx, c)
	}
	return s.Session.Pass(ctx, c, to)
}

func (s *brokenStore) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	if s.commit != nil {
		s.commit(&tx)
	}
	return s.Store.Commit(ctx, m, tx)
}

func (s *brokenStore) Watch(ctx context.Context, m string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		for ev, err := range s.Store.Watch(ctx, m, after) {
			times := 1
			if s.watch != nil {
				times = s.watch(&ev)
			}
			for range times {
				if !yield(ev, err) {
					return
				}
			}
		}
	}
}

// claiming is an Acquire of a claim changed on the way.
func claiming(change func(c *engine.Claim)) func(*brokenEngine) {
	return func(e *brokenEngine) {
		e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
			changed := *c
			change(&changed)
			return s.Session.Acquire(ctx, &changed, again)
		}
	}
}

// granting is an Acquire whose grant is changed on the way.
func granting(change func(c *engine.Claim, again bool, g *engine.Grant)) func(*brokenEngine) {
	return func(e *brokenEngine) {
		e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
			g, err := s.Session.Acquire(ctx, c, again)
			change(c, again, &g)
			return g, err
		}
	}
}
