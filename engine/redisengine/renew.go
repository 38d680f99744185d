package redisengine

import (
	"context"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// A renewal is a few scripts in one pipeline, whatever the number of claims:
// lua/renew.lua for mutexes that are held, some hundred each; lua/beat.lua for
// claims that wait and for kinds that share, whose line has to be looked at.
// Batches bound for how long the server does nothing else (measured: 250 names
// take it less than half a millisecond).
const (
	renewBatch = 250
	beatBatch  = 50
)

// batch is one script of a renewal, and whom it is about.
type batch struct {
	call   call
	claims []*engine.Claim
	counts []int // beat: how many of claims are of each name
}

// Renew keeps claims alive. A claim that its script could not be run for is
// unsure; where none could, nothing is known.
func (s *Session) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	if err := s.check(); err != nil {
		return engine.Renewal{}, err
	}
	if len(claims) == 0 {
		return engine.Renewal{}, nil
	}
	batches := s.batches(claims)
	calls := make([]call, len(batches))
	for i, b := range batches {
		calls[i] = b.call
	}
	sent := time.Now()
	var renewal engine.Renewal
	var failed error
	failures := 0
	for i, r := range runAll(ctx, s.e.t, calls) {
		b := batches[i]
		switch {
		case r.Err != nil:
			failures++
			failed = r.Err
			renewal.Unsure = append(renewal.Unsure, ids(b.claims)...)
		case b.counts == nil:
			renewal.Lost = append(renewal.Lost, b.gone(reply{r.Value})...)
		default:
			renewal.Lost = append(renewal.Lost, s.beaten(b, reply{r.Value}, sent)...)
		}
	}
	if failures == len(batches) {
		return engine.Renewal{}, s.e.explain(failed)
	}
	return renewal, nil
}

func ids(claims []*engine.Claim) []engine.ClaimID {
	all := make([]engine.ClaimID, len(claims))
	for i, c := range claims {
		all[i] = c.ID
	}
	return all
}

// batches divides claims into those that are held for themselves alone, and the
// others by name.
func (s *Session) batches(claims []*engine.Claim) (all []batch) {
	var held []*engine.Claim
	var names []string
	byName := make(map[string][]*engine.Claim)
	for _, c := range claims {
		if alone(c.Kind) && c.Term == 0 && !s.e.room.has(c.ID) {
			held = append(held, c)
			continue
		}
		if byName[c.Name] == nil {
			names = append(names, c.Name)
		}
		byName[c.Name] = append(byName[c.Name], c)
	}
	for len(held) > 0 {
		n := min(len(held), renewBatch)
		all = append(all, s.renewBatch(held[:n]))
		held = held[n:]
	}
	for len(names) > 0 {
		n := min(len(names), beatBatch)
		all = append(all, s.beatBatch(names[:n], byName))
		names = names[n:]
	}
	return all
}

func (s *Session) renewBatch(claims []*engine.Claim) batch {
	keys := make([]string, len(claims))
	args := make([]string, 1, len(claims)+1)
	args[0] = s.ms
	for i, c := range claims {
		keys[i] = s.e.key(c.Name)
		args = append(args, string(c.ID))
	}
	return batch{call: call{s.e.scripts.renew, keys, args}, claims: claims}
}

func (s *Session) beatBatch(names []string, byName map[string][]*engine.Claim) batch {
	b := batch{call: call{script: s.e.scripts.beat, args: []string{s.ms}}}
	for _, name := range names {
		claims := byName[name]
		b.call.keys = append(b.call.keys, lineKeys(s.e.key(name))...)
		b.call.args = append(b.call.args, strconv.Itoa(len(claims)))
		for _, c := range claims {
			b.call.args = append(b.call.args, string(c.ID))
		}
		b.claims = append(b.claims, claims...)
		b.counts = append(b.counts, len(claims))
	}
	return b
}

// gone are those that renew.lua did not find.
func (b batch) gone(r reply) (lost []engine.ClaimID) {
	for i := range r.len() {
		if n := r.int(i) - 1; n >= 0 && n < int64(len(b.claims)) {
			lost = append(lost, b.claims[n].ID)
		}
	}
	return lost
}

// beaten tells the Acquires of claims what beat.lua found, and returns those that
// it did not find.
func (s *Session) beaten(b batch, r reply, sent time.Time) (lost []engine.ClaimID) {
	next := b.claims
	for i, count := range b.counts {
		line := r.sub(i)
		for j, c := range next[:count] {
			switch found := line.int(4 + j); {
			case found > 0:
				s.e.room.tell(c.ID, func(n *news) { n.granted = beatAnswer{engine.Token(found), sent.Add(s.ttl)} })
			case found < 0:
				s.e.room.tell(c.ID, func(n *news) {
					n.see(seen{
						sent: sent, at: line.int(0), last: engine.Token(line.int(1)), left: millis(line.int(2)), foreign: line.int(3) == 1,
						place: int(-1 - found),
					})
				})
			default:
				lost = append(lost, c.ID)
			}
		}
		next = next[count:]
	}
	return lost
}
