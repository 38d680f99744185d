package sqliteengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Session is one client's presence; it implements [engine.Session] and
// [engine.Liveness].
type Session struct {
	e    *Engine
	id   int64
	ttl  time.Duration
	lost func(engine.ClaimID, error)

	renewing chan struct{} // holds one: renewals take turns

	mu       sync.Mutex
	file     *os.File
	deadline int64 // as in the file
	ended    bool
	told     bool // lost was called for the whole session
	telling  sync.WaitGroup
	renewals int                          // how many have begun
	entering map[engine.ClaimID]int       // Acquires on their way into a line
	entered  map[engine.ClaimID]int       // the renewal under way when they arrived
	missing  map[engine.ClaimID]time.Time // owned, but in no list since
}

// Begin starts a session: its file first, then its row.
func (e *Engine) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	if e.isClosed() {
		return nil, engine.ErrClosed
	}
	s, err := e.newSession(o)
	if err != nil {
		return nil, e.dir.explainFile(err)
	}
	if err := e.adopt(s); err != nil {
		return nil, errors.Join(err, s.drop())
	}
	err = e.writer.do(ctx, func(t *txn) error {
		if err := t.sweep(); err != nil {
			return err
		}
		_, err := t.exec("INSERT INTO sessions (id, bell) VALUES (?, ?)", s.id, e.bell)
		return err
	})
	if err != nil {
		e.forget(s)
		return nil, errors.Join(err, s.drop())
	}
	return s, nil
}

// newSession makes the session's file. A sweeper that meets it before it is
// locked takes it away; the next attempt has another name.
func (e *Engine) newSession(o engine.SessionOptions) (*Session, error) {
	s := &Session{
		e: e, ttl: o.TTL, lost: o.Lost, deadline: e.clock.mono() + int64(o.TTL),
		renewing: make(chan struct{}, 1),
		entering: make(map[engine.ClaimID]int), entered: make(map[engine.ClaimID]int), missing: make(map[engine.ClaimID]time.Time),
	}
	s.renewing <- struct{}{}
	for {
		s.id = newID()
		file, err := e.dir.newLockedFile(e.dir.session(s.id), encodeDeadline(s.deadline))
		if err == nil {
			s.file = file
			return s, nil
		}
		if !errors.Is(err, errSwept) {
			return nil, err
		}
	}
}

func (e *Engine) adopt(s *Session) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return engine.ErrClosed
	}
	e.sessions[s.id] = s
	return nil
}

func (e *Engine) forget(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s.id)
}

// drop closes the session's file: from then on it is dead for everybody.
func (s *Session) drop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Close(), ignoreMissing(os.Remove(s.e.dir.session(s.id))))
	s.file = nil
	return err
}

// TTL is what the session was begun with.
func (s *Session) TTL() time.Duration { return s.ttl }

// check is nil while the session lives. One whose deadline has passed is over,
// whether or not somebody has noticed yet (S5).
func (s *Session) check() error {
	if s.e.isClosed() {
		return engine.ErrClosed
	}
	s.mu.Lock()
	over := s.ended || s.e.clock.mono() >= s.deadline
	s.mu.Unlock()
	if over {
		s.lose()
		return engine.ErrSessionEnded
	}
	return nil
}

// lose ends the session against its will, and says so once.
func (s *Session) lose() {
	s.mu.Lock()
	first := !s.ended
	s.ended = true
	s.mu.Unlock()
	if first {
		s.tell("", engine.ErrSessionEnded)
	}
}

// tell passes a loss on. End waits for calls under way.
func (s *Session) tell(id engine.ClaimID, why error) {
	if s.lost == nil {
		return
	}
	s.mu.Lock()
	if s.told || s.file == nil {
		s.mu.Unlock()
		return
	}
	s.told = id == ""
	s.telling.Add(1)
	s.mu.Unlock()
	defer s.telling.Done()
	s.lost(id, why)
}

// End lets go of everything without a term, in one transaction.
func (s *Session) End(ctx context.Context, _ []*engine.Claim) error {
	s.mu.Lock()
	over := s.file == nil
	s.ended = true
	s.mu.Unlock()
	if over {
		return nil
	}
	s.e.wait.wake() // its waiters hear of it at once
	err := s.e.writer.do(ctx, func(t *txn) error { return t.reap(s.id) })
	if err != nil {
		return err
	}
	s.e.forget(s)
	err = s.drop()
	s.telling.Wait()
	return err
}

// Release ends the claim by its id. One with a term may outlive its session, so
// it is looked for whether or not that lives.
func (s *Session) Release(ctx context.Context, c *engine.Claim) (removed bool, err error) {
	removed, err = transact(ctx, s.e.writer, func(t *txn) (bool, error) { return t.remove(s.id, c.Name, c.ID) })
	if err == nil && !removed {
		err = s.check()
	}
	return removed, err
}

// SetNote replaces what others see of the claim.
func (s *Session) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	if err := s.check(); err != nil {
		return err
	}
	changed, err := transact(ctx, s.e.writer, func(t *txn) (int64, error) {
		n, err := t.exec("UPDATE claims SET note = ? WHERE name = ? AND id = ? AND session IN (?, 0)", note, c.Name, string(c.ID), s.id)
		if err != nil || n == 0 {
			return n, err
		}
		return n, t.changed(c.Name)
	})
	if err == nil && changed == 0 {
		err = fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
	}
	return err
}

// LivenessFile is a descriptor of the same open file description, and so of the
// same lock: the session's process counts as alive until all of them are closed.
func (s *Session) LivenessFile() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.file == nil {
		return nil, engine.ErrSessionEnded
	}
	return duplicate(s.file)
}

// left is until the session's deadline.
func (s *Session) left(now int64) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.deadline - now)
}
