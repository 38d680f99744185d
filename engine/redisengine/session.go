package redisengine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Session is one client's presence; it implements [engine.Session]. Redis knows
// nothing of it but its claims: each lives for a TTL from the last request that
// named it. So the session cannot end there, only its claims can.
type Session struct {
	e     *Engine
	ttl   time.Duration
	ms    string // ttl, for scripts
	lost  func(engine.ClaimID, error)
	notes atomic.Int64 // SetNotes so far: the version of a note

	ended chan struct{} // closed by End

	mu      sync.Mutex
	isEnded bool
	telling sync.WaitGroup
	waits   map[engine.ClaimID]struct{} // entered a line, and not known to be granted
}

// Why a claim is released (lua/release.lua).
const (
	giveBack      = "0"
	removeByForce = "1"
	endOfSession  = "2"
)

// Begin asks nobody: a session is a promise to renew.
func (e *Engine) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.TTL <= 0 {
		return nil, fmt.Errorf("%w: a TTL of %v", engine.ErrInvalid, o.TTL)
	}
	s := &Session{e: e, ttl: o.TTL, ms: inMillis(o.TTL), lost: o.Lost, ended: make(chan struct{}), waits: make(map[engine.ClaimID]struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isClosed {
		return nil, engine.ErrClosed
	}
	e.sessions[s] = struct{}{}
	return s, nil
}

// TTL is what the session was begun with.
func (s *Session) TTL() time.Duration { return s.ttl }

// check is nil while the session lives.
func (s *Session) check() error {
	if s.e.isOver() {
		return engine.ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isEnded {
		return engine.ErrSessionEnded
	}
	return nil
}

// tell passes a loss on. End waits for calls under way.
func (s *Session) tell(id engine.ClaimID, why error) {
	s.mu.Lock()
	if s.lost == nil || s.isEnded {
		s.mu.Unlock()
		return
	}
	s.telling.Add(1)
	s.mu.Unlock()
	defer s.telling.Done()
	s.lost(id, why)
}

// End releases all claims without a term: those that wait first, or each release would
// let in the next of our own.
func (s *Session) End(ctx context.Context, claims []*engine.Claim) error {
	s.mu.Lock()
	first := !s.isEnded
	s.isEnded = true
	var order []*engine.Claim
	for _, waiting := range []bool{true, false} {
		for _, c := range claims {
			if _, waits := s.waits[c.ID]; waits == waiting {
				order = append(order, c)
			}
		}
	}
	s.mu.Unlock()
	if first {
		close(s.ended)
	}
	if err := s.letGo(ctx, order); err != nil {
		return err
	}
	s.e.mu.Lock()
	delete(s.e.sessions, s)
	s.e.mu.Unlock()
	s.telling.Wait()
	return nil
}

func (s *Session) letGo(ctx context.Context, claims []*engine.Claim) error {
	if len(claims) == 0 {
		return nil
	}
	if s.e.isOver() {
		return engine.ErrClosed
	}
	var refused error
	for some := range slices.Chunk(claims, endBatch) {
		calls := make([]call, len(some))
		for i, c := range some {
			calls[i] = call{s.e.scripts.release, lineKeys(s.e.key(c.Name)), []string{string(c.ID) + marker, endOfSession}}
		}
		for _, r := range runAll(ctx, s.e.t, calls) {
			switch {
			case r.Err == nil:
			case code(r.Err) == "": // nor will the rest be answered
				return s.e.explain(r.Err)
			case refused == nil:
				refused = s.e.explain(r.Err)
			}
		}
	}
	return refused
}

// endBatch is how many claims are let go in one pipeline. The whole of it must be
// answered within the time for which a connection may be silent.
const endBatch = 250

// Release ends the claim by its id. An Acquire of it that still waits here ends as
// well: nobody publishes anything for it any more.
func (s *Session) Release(ctx context.Context, c *engine.Claim) (removed bool, err error) {
	v, err := s.e.run(ctx, s.e.scripts.release, lineKeys(s.e.key(c.Name)), string(c.ID)+marker, giveBack)
	if err != nil {
		return false, err
	}
	s.waiting(c.ID, false)
	s.e.room.tell(c.ID, func(n *news) { n.gone = true })
	return v == int64(1), nil
}

// waiting notes whether the claim waits, for End.
func (s *Session) waiting(id engine.ClaimID, waits bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if waits {
		s.waits[id] = struct{}{}
	} else {
		delete(s.waits, id)
	}
}

// SetNote replaces what others see of the claim. Notes are numbered, so that one
// that arrives late does not undo a later one.
func (s *Session) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	if err := s.check(); err != nil {
		return err
	}
	version := strconv.FormatInt(s.notes.Add(1), 10)
	v, err := s.e.run(ctx, s.e.scripts.note, lineKeys(s.e.key(c.Name)), string(c.ID), version, string(note))
	if err == nil && v != int64(1) {
		err = fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
	}
	return err
}

// Pass hands the claim over to a waiter.
func (s *Session) Pass(ctx context.Context, c *engine.Claim, to engine.ClaimID) error {
	if err := s.check(); err != nil {
		return err
	}
	v, err := s.e.run(ctx, s.e.scripts.pass, lineKeys(s.e.key(c.Name)), string(c.ID), string(to))
	if err == nil && v != int64(1) {
		err = fmt.Errorf("pass on %q: %w", c.Name, engine.ErrNotFound)
	}
	return err
}
