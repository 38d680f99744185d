package lockstep_test

import (
	"context"
	"errors"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// rig is an engine whose sessions' calls go through functions that a test sets:
// each may call next, or not, or twice, and answer what it likes.
type rig struct {
	engine.Engine

	mu      sync.Mutex
	renew   func(ctx context.Context, claims []*engine.Claim, next renewFunc) (engine.Renewal, error)
	acquire func(ctx context.Context, c *engine.Claim, again bool, next acquireFunc) (engine.Grant, error)
	release func(ctx context.Context, c *engine.Claim, next releaseFunc) (bool, error)
	begin   func(ctx context.Context, next beginFunc) (engine.Session, error)
	setNote func(ctx context.Context, note []byte, next func(context.Context, []byte) error) error
	pass    func(ctx context.Context, next func(context.Context) error) error
	line    func(ctx context.Context, next lineFunc) (engine.Line, error)
	lines   func(ctx context.Context, next linesFunc) iter.Seq2[engine.Line, error]
	info    func(*engine.Info)
	cut     bool                        // sessions' calls hang until their context ends: a dead network
	lost    func(engine.ClaimID, error) // of the newest session
}

type (
	renewFunc   func(context.Context, []*engine.Claim) (engine.Renewal, error)
	acquireFunc func(context.Context, *engine.Claim, bool) (engine.Grant, error)
	releaseFunc func(context.Context, *engine.Claim) (bool, error)
	beginFunc   func(context.Context) (engine.Session, error)
	lineFunc    func(context.Context) (engine.Line, error)
	linesFunc   func(context.Context) iter.Seq2[engine.Line, error]
)

// errNoReply is an outcome that is not known.
var errNoReply = errors.New("no reply")

func (r *rig) Info() engine.Info {
	info := r.Engine.Info()
	if r.info != nil {
		r.info(&info)
	}
	return info
}

func (r *rig) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	r.mu.Lock()
	hook := r.begin
	r.lost = o.Lost
	r.mu.Unlock()
	next := func(ctx context.Context) (engine.Session, error) {
		s, err := r.Engine.Begin(ctx, o)
		if err != nil {
			return nil, err
		}
		return &riggedSession{s, r}, nil
	}
	if hook == nil {
		return next(ctx)
	}
	return hook(ctx, next)
}

func (r *rig) Line(ctx context.Context, name string) (engine.Line, error) {
	r.mu.Lock()
	hook := r.line
	r.mu.Unlock()
	next := func(ctx context.Context) (engine.Line, error) { return r.Engine.Line(ctx, name) }
	if hook == nil {
		return next(ctx)
	}
	return hook(ctx, next)
}

func (r *rig) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	r.mu.Lock()
	hook := r.lines
	r.mu.Unlock()
	next := func(ctx context.Context) iter.Seq2[engine.Line, error] { return r.Engine.WatchLine(ctx, name) }
	if hook == nil {
		return next(ctx)
	}
	return hook(ctx, next)
}

// set changes a hook while calls may be under way.
func (r *rig) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

type riggedSession struct {
	engine.Session
	r *rig
}

// cut says whether the network is dead; then the call hung until ctx ended.
func (s *riggedSession) cut(ctx context.Context) bool {
	s.r.mu.Lock()
	cut := s.r.cut
	s.r.mu.Unlock()
	if cut {
		<-ctx.Done()
	}
	return cut
}

func (s *riggedSession) End(ctx context.Context, claims []*engine.Claim) error {
	if s.cut(ctx) {
		return ctx.Err()
	}
	return s.Session.End(ctx, claims)
}

func (s *riggedSession) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	if s.cut(ctx) {
		return engine.Renewal{}, ctx.Err()
	}
	s.r.mu.Lock()
	hook := s.r.renew
	s.r.mu.Unlock()
	if hook == nil {
		return s.Session.Renew(ctx, claims)
	}
	return hook(ctx, claims, s.Session.Renew)
}

func (s *riggedSession) Acquire(ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
	if s.cut(ctx) {
		return engine.Grant{}, ctx.Err()
	}
	s.r.mu.Lock()
	hook := s.r.acquire
	s.r.mu.Unlock()
	if hook == nil {
		return s.Session.Acquire(ctx, c, again)
	}
	return hook(ctx, c, again, s.Session.Acquire)
}

func (s *riggedSession) Release(ctx context.Context, c *engine.Claim) (bool, error) {
	if s.cut(ctx) {
		return false, ctx.Err()
	}
	s.r.mu.Lock()
	hook := s.r.release
	s.r.mu.Unlock()
	if hook == nil {
		return s.Session.Release(ctx, c)
	}
	return hook(ctx, c, s.Session.Release)
}

func (s *riggedSession) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	if s.cut(ctx) {
		return ctx.Err()
	}
	s.r.mu.Lock()
	hook := s.r.setNote
	s.r.mu.Unlock()
	next := func(ctx context.Context, note []byte) error { return s.Session.SetNote(ctx, c, note) }
	if hook == nil {
		return next(ctx, note)
	}
	return hook(ctx, note, next)
}

func (s *riggedSession) Pass(ctx context.Context, c *engine.Claim, to engine.ClaimID) error {
	if s.cut(ctx) {
		return ctx.Err()
	}
	s.r.mu.Lock()
	hook := s.r.pass
	s.r.mu.Unlock()
	next := func(ctx context.Context) error { return s.Session.Pass(ctx, c, to) }
	if hook == nil {
		return next(ctx)
	}
	return hook(ctx, next)
}

const ttl = 10 * time.Second

// service is one engine and the clients of it that a test opens.
type service struct {
	t *testing.T
	s *memengine.Service
}

func newService(t *testing.T) *service { return &service{t, memengine.NewService()} }

// client is a program of its own, with an engine that works.
func (s *service) client(opts ...lockstep.Option) *lockstep.Client {
	s.t.Helper()
	c, _ := s.rigged(opts...)
	return c
}

// rigged is a program of its own, with an engine that the test can rig.
func (s *service) rigged(opts ...lockstep.Option) (*lockstep.Client, *rig) {
	s.t.Helper()
	r := &rig{Engine: s.s.Engine()}
	return s.over(r, opts...), r
}

// over is a client over a rig whose Info is settled.
func (s *service) over(r *rig, opts ...lockstep.Option) *lockstep.Client {
	s.t.Helper()
	c, err := lockstep.New(r, append([]lockstep.Option{lockstep.WithTTL(ttl), lockstep.WithLogger(nil)}, opts...)...)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			s.t.Errorf("close: %v", err)
		}
	})
	return c
}

func lock(t *testing.T, m interface {
	Lock(ctx context.Context) (*lockstep.Lease, error)
},
) *lockstep.Lease {
	t.Helper()
	l, err := m.Lock(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// wantErr fails unless err is target.
func wantErr(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("error is %v; want %v", err, target)
	}
}

func wantNo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
