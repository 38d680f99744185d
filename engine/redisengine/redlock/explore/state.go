package main

import (
	"bytes"

	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

const maxNodes, maxAttempts = 5, 4

// life is what an attempt's client does.
type life uint8

const (
	idle    life = iota
	running      // asks for votes
	holding      // was granted, and believes it
	over         // gave up, or let go; its requests may still arrive
)

// node is one server. Zero owner: nobody; attempt c owns as c+1.
type node struct {
	owner, count uint8
	out          uint8 // lost its data: does not vote before these attempts have ended
}

// attempt is one client's, and what of it is on its way.
type attempt struct {
	life    life
	floor   uint8 // the greatest token won before it started
	won     uint8 // its token, once it was granted
	asked   vote.Set
	granted vote.Set        // votes on their way back, with
	reply   [maxNodes]uint8 // what they say
	refused vote.Set        // refusals on their way back
	writes  vote.Set        // second rounds on their way there
	yes, no vote.Set        // and back
	vote    compact         // what it knows
}

// compact is a [vote.Attempt] without what no longer matters.
type compact struct {
	phase                                 vote.Phase
	forUs, against, silent, has, declined vote.Set
	token                                 uint8
	count                                 [maxNodes]uint8
}

func (c compact) open(nodes int) vote.Attempt {
	a := vote.New(nodes)
	a.Phase, a.For, a.Against, a.Silent, a.Has, a.Declined = c.phase, c.forUs, c.against, c.silent, c.has, c.declined
	a.Token = uint64(c.token)
	for i := range nodes {
		a.Count[i] = uint64(c.count[i])
	}
	return a
}

// compacted forgets counts that are not looked at any more: states that differ in
// them alone are one.
func compacted(a vote.Attempt) (c compact) {
	c = compact{
		phase: a.Phase, forUs: a.For, against: a.Against, silent: a.Silent, has: a.Has, declined: a.Declined,
		token: uint8(a.Token),
	}
	switch a.Phase {
	case vote.Voting:
		for i := range c.count {
			c.count[i] = uint8(a.Count[i])
		}
	case vote.Won, vote.Lost:
		return compact{phase: a.Phase}
	}
	return c
}

type state struct {
	nodes    [maxNodes]node
	attempts [maxAttempts]attempt
	repeats  uint8 // of requests, so far
	losses   uint8
}

// key is the state as bytes. Nodes are alike, so their order is not part of it.
func (s *state) key(cfg *config, buf []byte) []byte {
	const perAttempt = 4
	var columns [maxNodes][3 + perAttempt*maxAttempts]byte
	for i := range cfg.nodes {
		col := &columns[i]
		col[0], col[1], col[2] = s.nodes[i].owner, s.nodes[i].count, s.nodes[i].out
		for j := range cfg.attempts {
			a, at := &s.attempts[j], 3+perAttempt*j
			col[at] = bits(i, a.asked, a.granted, a.refused, a.writes, a.yes, a.no, a.vote.forUs, a.vote.against)
			col[at+1] = bits(i, a.vote.silent, a.vote.has, a.vote.declined)
			col[at+2], col[at+3] = a.reply[i], a.vote.count[i]
		}
	}
	for x := 1; x < cfg.nodes; x++ {
		for y := x; y > 0 && bytes.Compare(columns[y][:], columns[y-1][:]) < 0; y-- {
			columns[y], columns[y-1] = columns[y-1], columns[y]
		}
	}
	for i := range cfg.nodes {
		buf = append(buf, columns[i][:3+perAttempt*cfg.attempts]...)
	}
	for j := range cfg.attempts {
		a := &s.attempts[j]
		buf = append(buf, byte(a.life), a.floor, a.won, byte(a.vote.phase), a.vote.token)
	}
	return append(buf, s.repeats, s.losses)
}

func bits(node int, sets ...vote.Set) (b byte) {
	for k, s := range sets {
		if s.Has(node) {
			b |= 1 << k
		}
	}
	return b
}
