package enginetest

import (
	"context"
	"iter"
	"slices"
	"sync"

	"github.com/lockstep-go/lockstep/engine"
)

// faultySession is a session behind a bad network.
type faultySession struct {
	engine.Session
	f *FaultyEngine

	mu     sync.Mutex
	claims []*engine.Claim
}

func (s *faultySession) begun() []*engine.Claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.claims)
}

func (s *faultySession) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	return through(ctx, s.f, s, Renew, func(ctx context.Context) (engine.Renewal, error) { return s.Session.Renew(ctx, claims) })
}

// End comes after what is late: nothing else of the session may be under way.
func (s *faultySession) End(ctx context.Context, claims []*engine.Claim) error {
	s.f.Arrived()
	_, err := through(ctx, s.f, s, End, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Session.End(ctx, claims)
	})
	if err != nil {
		s.f.orphan(s.Session) // what its caller gave up on must still free this machine
	}
	return err
}

func (f *FaultyEngine) orphan(s engine.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.orphans = append(f.orphans, s)
}

// Acquire has two faults in ways of its own: a late one, and one that was cut
// off, enter the line and have nobody who waits.
func (s *faultySession) Acquire(ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
	s.mu.Lock()
	s.claims = append(s.claims, c)
	s.mu.Unlock()
	fault := s.f.draw(Acquire)
	switch fault {
	case DropRequest:
		return engine.Grant{}, broken(Acquire, fault)
	case DropReply:
		s.Session.Acquire(ctx, c, again)
		return engine.Grant{}, broken(Acquire, fault)
	case Cut:
		s.arrive(ctx, c, again)
		return engine.Grant{}, broken(Acquire, fault)
	case Late:
		s.f.later(func(ctx context.Context) { s.arrive(ctx, c, again) })
		return engine.Grant{}, broken(Acquire, fault)
	case Twice:
		s.arrive(ctx, c, again)
	case Delay:
		if err := pause(ctx, lateAfter); err != nil {
			return engine.Grant{}, err
		}
	case SessionEnds:
		s.Session.End(ctx, s.begun())
	}
	return s.Session.Acquire(ctx, c, again)
}

// arrive is an Acquire whose caller is gone as soon as its claim is in line.
func (s *faultySession) arrive(ctx context.Context, c *engine.Claim, again bool) {
	ctx, cancel := context.WithCancel(ctx)
	var look sync.WaitGroup
	look.Go(func() {
		for l, err := range s.f.Engine.WatchLine(ctx, c.Name) {
			if err == nil && (has(l.Holders, c.ID) || has(l.Waiters, c.ID)) {
				cancel()
				return
			}
		}
	})
	s.Session.Acquire(ctx, c, again)
	cancel()
	look.Wait()
}

func (s *faultySession) Release(ctx context.Context, c *engine.Claim) (bool, error) {
	return through(ctx, s.f, s, Release, func(ctx context.Context) (bool, error) { return s.Session.Release(ctx, c) })
}

func (s *faultySession) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	_, err := through(ctx, s.f, s, SetNote, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Session.SetNote(ctx, c, note)
	})
	return err
}

func (s *faultySession) Pass(ctx context.Context, c *engine.Claim, to engine.ClaimID) error {
	_, err := through(ctx, s.f, s, Pass, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, s.Session.Pass(ctx, c, to)
	})
	return err
}

// faultyStore is a store behind a bad network.
type faultyStore struct {
	engine.Store
	f *FaultyEngine
}

func (s *faultyStore) List(ctx context.Context, m string) (engine.Event, error) {
	return through(ctx, s.f, nil, List, func(ctx context.Context) (engine.Event, error) { return s.Store.List(ctx, m) })
}

func (s *faultyStore) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	return through(ctx, s.f, nil, Get, func(ctx context.Context) (engine.Entry, error) { return s.Store.Get(ctx, m, key) })
}

// Commit without an ID is not repeatable: no network of ours sends it twice.
func (s *faultyStore) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	do := func(ctx context.Context) (engine.Revision, error) { return s.Store.Commit(ctx, m, tx) }
	if tx.ID == "" {
		return do(ctx)
	}
	return through(ctx, s.f, nil, Commit, do)
}

func (s *faultyStore) Watch(ctx context.Context, m string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return breaking(s.f, Watch, s.Store.Watch(ctx, m, after))
}
