package main

import "github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"

// won looks at what must hold when an attempt is granted.
func (x *search) won(s state, c int, how event) {
	a := &s.attempts[c]
	for j := range x.cfg.attempts {
		b := &s.attempts[j]
		if j == c || b.won == 0 {
			continue
		}
		if b.won == a.won {
			x.fail(how, "attempt %d is granted token %d, which attempt %d has", c, a.won, j)
			return
		}
		if x.cfg.broken == orderOfGrants && b.won > a.won {
			x.fail(how, "attempt %d is granted token %d after attempt %d was granted %d", c, a.won, j, b.won)
			return
		}
		if !x.cfg.anytime && b.life == holding {
			x.fail(how, "attempts %d and %d hold at one time", c, j)
			return
		}
	}
	if a.won <= a.floor {
		x.fail(how, "attempt %d is granted token %d though one with %d was granted before it started", c, a.won, a.floor)
		return
	}
	x.grants++
	x.push(s, how)
}

// known looks at whether tokens that were granted are known to a majority, as long
// as no node lost its data.
func (x *search) known(s *state) bool {
	if x.cfg.losses > 0 {
		return true
	}
	for j := range x.cfg.attempts {
		token, nodes := s.attempts[j].won, 0
		for i := range x.cfg.nodes {
			if s.nodes[i].count >= token {
				nodes++
			}
		}
		if nodes < vote.Majority(x.cfg.nodes) {
			return false
		}
	}
	return true
}
