package redlock

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// Why a claim is released (lua/release.lua).
const (
	giveBack      = "0"
	removeByForce = "1"
	endOfSession  = "2"
)

// everyAttempt is greater than any attempt's number.
const everyAttempt = "9007199254740991"

// agree has every node run a script that answers whether something is there, and
// says whether it is at a majority. Where too few answer to tell, it is there if
// anybody has it.
func (e *Engine) agree(ctx context.Context, ttl time.Duration, name string, c call) (there bool, err error) {
	if e.isOver() {
		return false, errClosed
	}
	p := vote.Presence{Nodes: uint8(len(e.nodes))}
	var errs []error
	ask := e.ask
	if c.script == theScripts.release {
		ask = e.tidy
	}
	err = e.gather(ctx, ask(e.all(), e.nodeTimeout(ttl), name, one(c)), e.all(), func(a answer) bool {
		v, err := a.first()
		switch {
		case err != nil:
			p.Silent = p.Silent.With(a.node)
			errs = append(errs, e.blame(a.node, err))
		case v == int64(1):
			p.There = p.There.With(a.node)
		default:
			p.Absent = p.Absent.With(a.node)
		}
		return p.Answer() == vote.Yes || p.Answer() == vote.No
	})
	answered := (p.There | p.Absent).Len()
	switch {
	case err != nil:
		return false, err
	case answered < vote.Majority(len(e.nodes)):
		return false, tooFew(len(e.nodes), answered, errs)
	}
	return p.Answer() == vote.Yes || p.Answer() == vote.Perhaps && p.There != 0, nil
}

// blame says which node an error is of.
func (e *Engine) blame(node int, err error) error {
	return fmt.Errorf("node %s: %w", e.nodes[node].name, redisengine.Explain(err))
}

// Release ends the claim by its id. An Acquire of it that still waits here ends as
// well.
func (s *Session) Release(ctx context.Context, c *engine.Claim) (removed bool, err error) {
	removed, err = s.release(ctx, c, giveBack)
	if err == nil {
		s.forget(c.ID)
		s.e.room.tell(c.ID, func(n *news) { n.removed = s.e.all() })
	}
	return removed, err
}

func (s *Session) release(ctx context.Context, c *engine.Claim, why string) (bool, error) {
	newest := strconv.FormatInt(attempts.Load(), 10)
	if cl := s.known(c.ID); cl != nil {
		cl.mu.Lock()
		cl.leaving = true
		cl.mu.Unlock()
	}
	return s.e.agree(ctx, s.ttl, c.Name, call{theScripts.release, nameKeys(s.e.key(c.Name)), []string{string(c.ID), newest, why}})
}

// Remove ends the claim whoever made it. Another program's is removed too: its id is
// what Line shows.
func (e *Engine) Remove(ctx context.Context, name string, id engine.ClaimID) error {
	_, err := e.agree(ctx, e.opts.maxTTL, name, call{theScripts.release, nameKeys(e.key(name)), []string{string(id), everyAttempt, removeByForce}})
	return err
}

// End releases all claims without a term: those that wait first, or each release would
// tell the next of our own.
func (s *Session) End(ctx context.Context, claims []*engine.Claim) error {
	s.mu.Lock()
	first := !s.isEnded
	s.isEnded = true
	s.mu.Unlock()
	if first {
		close(s.ended)
	}
	if err := s.letGo(ctx, claims); err != nil {
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
		return errClosed
	}
	newest := strconv.FormatInt(attempts.Load(), 10)
	releases := make([]redisengine.Command, 0, len(claims))
	for _, held := range []bool{false, true} {
		for _, c := range claims {
			if s.holds(c.ID) == held {
				one := call{theScripts.release, nameKeys(s.e.key(c.Name)), []string{string(c.ID), newest, endOfSession}}
				releases = append(releases, one.command())
			}
		}
	}
	for some := range slices.Chunk(releases, endBatch) {
		if err := s.let(ctx, some); err != nil {
			return err
		}
	}
	return nil
}

// endBatch is how many claims are let go in one pipeline for each node. The whole of
// it must be answered within the node's timeout.
const endBatch = 250

// let has a majority of nodes run releases.
func (s *Session) let(ctx context.Context, releases []redisengine.Command) error {
	done := 0
	var errs []error
	err := s.e.gather(ctx, s.e.tidy(s.e.all(), s.e.nodeTimeout(s.ttl), "", same(releases)), s.e.all(), func(a answer) bool {
		if err := a.worst(); err != nil {
			errs = append(errs, s.e.blame(a.node, err))
		} else {
			done++
		}
		return done >= vote.Majority(len(s.e.nodes))
	})
	if err == nil && done < vote.Majority(len(s.e.nodes)) {
		err = tooFew(len(s.e.nodes), done, errs)
	}
	return err
}

func (s *Session) holds(id engine.ClaimID) bool {
	cl := s.known(id)
	if cl == nil {
		return false
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.held
}

// worst is any error of an answer.
func (a answer) worst() error {
	if a.err != nil {
		return a.err
	}
	for _, r := range a.results {
		if r.Err != nil {
			return r.Err
		}
	}
	return nil
}

// flush gives what is still on its way to a minority the time to arrive.
func (e *Engine) flush() {
	arrived := make(chan struct{})
	go func() { e.asides.Wait(); close(arrived) }()
	t := time.NewTimer(flushFor)
	defer t.Stop()
	select {
	case <-arrived:
	case <-t.C:
	}
}

const flushFor = 300 * time.Millisecond
