package redlock

import (
	"context"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// A renewal is a few scripts in one pipeline for each node, whatever the number of
// claims: lua/renew.lua for those that are held, lua/beat.lua for those that wait.
// Batches bound for how long a server does nothing else.
const (
	renewBatch = 250
	beatBatch  = 50
)

// Renew keeps claims alive. Each is judged by its own majority: renewed, lost, or
// unsure where too few nodes answered.
func (s *Session) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	if err := s.check(); err != nil {
		return engine.Renewal{}, err
	}
	if len(claims) == 0 {
		return engine.Renewal{TTL: s.TTL()}, nil
	}
	r := s.renewal(claims)
	var errs []error
	answered := 0
	sent := time.Now()
	err := s.e.gather(ctx, s.e.ask(s.e.all(), s.e.nodeTimeout(s.ttl), "", same(r.commands)), s.e.all(), func(a answer) bool {
		if err := a.worst(); err != nil {
			errs = append(errs, s.e.blame(a.node, err))
			r.silent(a.node)
			return r.decided()
		}
		answered++
		r.heard(a, sent)
		return r.decided()
	})
	switch {
	case err != nil:
		return engine.Renewal{}, err
	case answered < vote.Majority(len(s.e.nodes)):
		return engine.Renewal{}, tooFew(len(s.e.nodes), answered, errs)
	}
	return r.done(sent), nil
}

// renewal is one Renew.
type renewal struct {
	s        *Session
	held     []*engine.Claim
	waiting  []*engine.Claim
	votes    []vote.Renewal // of held, then of waiting
	commands []redisengine.Command
}

func (s *Session) renewal(claims []*engine.Claim) *renewal {
	r := &renewal{s: s}
	for _, c := range claims {
		if s.holds(c.ID) {
			r.held = append(r.held, c)
		} else {
			r.waiting = append(r.waiting, c)
		}
	}
	r.votes = make([]vote.Renewal, len(claims))
	for i := range r.votes {
		r.votes[i].Nodes = uint8(len(s.e.nodes))
	}
	for held := r.held; len(held) > 0; {
		n := min(len(held), renewBatch)
		r.commands = append(r.commands, s.renewCall(held[:n]).command())
		held = held[n:]
	}
	for waiting := r.waiting; len(waiting) > 0; {
		n := min(len(waiting), beatBatch)
		r.commands = append(r.commands, s.beatCall(waiting[:n]).command())
		waiting = waiting[n:]
	}
	return r
}

func (s *Session) renewCall(claims []*engine.Claim) call {
	c := call{script: theScripts.renew}
	ms := inMillis(s.ttl)
	for _, cl := range claims {
		life := ms
		if cl.Term > 0 {
			life = "0"
		}
		c.keys = append(c.keys, s.e.key(cl.Name))
		c.args = append(c.args, string(cl.ID), life)
	}
	return c
}

func (s *Session) beatCall(claims []*engine.Claim) call {
	c := call{script: theScripts.beat, args: []string{inMillis(s.ttl)}}
	for _, cl := range claims {
		c.keys = append(c.keys, nameKeys(s.e.key(cl.Name))...)
		c.args = append(c.args, string(cl.ID))
	}
	return c
}

func (r *renewal) silent(node int) {
	for i := range r.votes {
		r.votes[i].Silent = r.votes[i].Silent.With(node)
	}
}

// heard takes one node's answers.
func (r *renewal) heard(a answer, sent time.Time) {
	at, claim := 0, 0
	for left := len(r.held); left > 0; at++ {
		n := min(left, renewBatch)
		states, _ := a.results[at].Value.(string)
		for i := range n {
			r.mark(claim, a.node, states, i)
			claim++
		}
		left -= n
	}
	for left := len(r.waiting); left > 0; at++ {
		n := min(left, beatBatch)
		states := reply{a.results[at].Value}
		for i := range n {
			r.beat(claim, a.node, states.int(2*i), states.int(2*i+1), sent)
			claim++
		}
		left -= n
	}
}

func (r *renewal) mark(claim, node int, states string, i int) {
	v := &r.votes[claim]
	switch {
	case i >= len(states):
		v.Silent = v.Silent.With(node)
	case states[i] == 'y':
		v.Renewed = v.Renewed.With(node)
	case states[i] == 'n':
		v.Missing = v.Missing.With(node)
	default:
		v.Other = v.Other.With(node)
	}
}

// beat tells the Acquire of one that waits where it stands.
func (r *renewal) beat(claim, node int, rank, left int64, sent time.Time) {
	v := &r.votes[claim]
	if rank == -1 {
		v.Missing = v.Missing.With(node)
		return
	}
	v.Renewed = v.Renewed.With(node)
	r.s.e.room.tell(r.waiting[claim-len(r.held)].ID, func(n *news) {
		n.seen[node] = sight{
			known: true, at: sent, rank: int(rank), left: millis(max(left, 0)), forever: left == -1, foreign: n.seen[node].foreign,
		}
		n.learned = true
	})
}

func (r *renewal) decided() bool {
	for _, v := range r.votes {
		if v.Verdict() == vote.Open || v.Verdict() == vote.Unsure {
			return false
		}
	}
	return true
}

// done is what a Renew found. Nodes that lost what a majority keeps are joined again.
func (r *renewal) done(sent time.Time) engine.Renewal {
	result := engine.Renewal{TTL: r.s.TTL()}
	for i, v := range r.votes {
		c := r.claim(i)
		switch v.Verdict() {
		case vote.Gone:
			result.Lost = append(result.Lost, c.ID)
		case vote.Kept:
			if i >= len(r.held) {
				r.s.e.room.tell(c.ID, func(n *news) { n.asked = sent })
			}
		default:
			result.Unsure = append(result.Unsure, c.ID)
		}
	}
	r.rejoin()
	return result
}

func (r *renewal) claim(i int) *engine.Claim {
	if i < len(r.held) {
		return r.held[i]
	}
	return r.waiting[i-len(r.held)]
}

// rejoin has nodes that came back empty, or were away when a name was granted, take it
// again, in the background.
func (r *renewal) rejoin() {
	for i, c := range r.held {
		if to := r.votes[i].Rejoin(); c.Term == 0 && to != 0 {
			r.s.rejoin(c, to)
		}
	}
}

// rejoin asks for it while no release of the claim can begin: one that does later comes behind
// it at each node, and takes the claim off again.
func (s *Session) rejoin(c *engine.Claim, to vote.Set) {
	cl := s.known(c.ID)
	if cl == nil {
		return
	}
	tail := s.tail(c, cl)
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.leaving {
		return
	}
	args := []string{string(c.ID), strconv.FormatInt(cl.attempt, 10), strconv.FormatUint(cl.token, 10), inMillis(s.ttl), tail}
	s.e.ask(to, s.e.nodeTimeout(s.ttl), c.Name, one(call{theScripts.rejoin, nameKeys(s.e.key(c.Name))[:2], args}))
}
