package redlock

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// Session is one client's presence; it implements [engine.Session]. Nodes know
// nothing of it but its claims: each lives for a TTL from the last request that named
// it.
type Session struct {
	e    *Engine
	ttl  time.Duration // that nodes are given
	lost func(engine.ClaimID, error)

	ended chan struct{} // closed by End

	mu      sync.Mutex
	isEnded bool
	telling sync.WaitGroup
	claims  map[engine.ClaimID]*claim
}

// claim is what a session knows of a claim of its own.
type claim struct {
	busy chan struct{} // holds one while an Acquire of it is under way

	mu      sync.Mutex
	version int64 // of the note
	note    string
	held    bool
	leaving bool  // a release of it has begun
	attempt int64 // that was won
	token   uint64
	removed vote.Set // where somebody removed it by force
}

// attempts numbers all attempts of this process, so that of two of one claim it can
// be told which is the later.
var attempts atomic.Int64

// Begin asks nobody: a session is a promise to renew.
func (e *Engine) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if o.TTL <= 0 {
		return nil, fmt.Errorf("%w: a TTL of %v", engine.ErrInvalid, o.TTL)
	}
	s := &Session{
		e: e, ttl: min(o.TTL, e.opts.maxTTL), lost: o.Lost, ended: make(chan struct{}), claims: make(map[engine.ClaimID]*claim),
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isClosed {
		return nil, errClosed
	}
	e.sessions[s] = struct{}{}
	return s, nil
}

// TTL is what the session was begun with, or the longest that there is here, less
// what clocks may run apart beyond what the core reckons with.
func (s *Session) TTL() time.Duration { return s.ttl - vote.Drift(s.ttl, s.e.opts.drift) }

// check is nil while the session lives.
func (s *Session) check() error {
	if s.e.isOver() {
		return errClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isEnded {
		return engine.ErrSessionEnded
	}
	return nil
}

// claim is what is known of a claim, from now on.
func (s *Session) claim(c *engine.Claim) *claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	cl := s.claims[c.ID]
	if cl == nil {
		cl = &claim{busy: make(chan struct{}, 1), note: string(c.Note)}
		s.claims[c.ID] = cl
	}
	return cl
}

// known is what is known of it, or nil.
func (s *Session) known(id engine.ClaimID) *claim {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claims[id]
}

func (s *Session) forget(id engine.ClaimID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.claims, id)
}

// tail is what nodes keep of a claim beside its votes.
func (s *Session) tail(c *engine.Claim, cl *claim) string {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return letter(c.Kind) + ":" + inMillis(c.Term) + ":" + strconv.FormatInt(cl.version, 10) + ":" + s.e.client + ":" + cl.note
}

// Kinds at a node are letters.
func letter(k engine.Kind) string {
	if k == engine.Election {
		return "e"
	}
	return "m"
}

func kindOf(letter string) engine.Kind {
	switch letter {
	case "m":
		return engine.Mutex
	case "e":
		return engine.Election
	}
	return 0
}

// removed takes note that a node was told to remove a claim by force. It is told as
// a loss when a majority says so: one node alone takes nothing away.
func (e *Engine) removed(id engine.ClaimID, node int) {
	for _, s := range e.living() {
		cl := s.known(id)
		if cl == nil {
			continue
		}
		cl.mu.Lock()
		before := cl.removed.Len()
		cl.removed = cl.removed.With(node)
		now := cl.removed.Len()
		cl.mu.Unlock()
		if now > before && now == vote.Majority(len(e.nodes)) {
			s.tell(id, fmt.Errorf("claim removed by force: %w", engine.ErrNotFound))
		}
	}
}

// living are the sessions that have not ended.
func (e *Engine) living() []*Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Collect(maps.Keys(e.sessions))
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

// SetNote replaces what others see of the claim. Notes are numbered, so that one that
// arrives late does not undo a later one.
func (s *Session) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	if err := s.check(); err != nil {
		return err
	}
	cl := s.known(c.ID)
	if cl == nil {
		return fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
	}
	cl.mu.Lock()
	cl.version++
	cl.note = string(note)
	version := strconv.FormatInt(cl.version, 10)
	cl.mu.Unlock()
	there, err := s.e.agree(ctx, s.ttl, c.Name, call{theScripts.note, nameKeys(s.e.key(c.Name)), []string{string(c.ID), version, string(note)}})
	if err == nil && !there {
		err = fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
	}
	return err
}

// Pass is not supported: no node knows who a majority would be for.
func (s *Session) Pass(context.Context, *engine.Claim, engine.ClaimID) error {
	if err := s.check(); err != nil {
		return err
	}
	return fmt.Errorf("%w: redlock does not hand a name over", engine.ErrUnsupported)
}
