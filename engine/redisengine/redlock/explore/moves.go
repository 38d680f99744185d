package main

import (
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// What may happen next. Every function here is one kind of event, and hands each
// state that it leads to on to x.

// next is every event that may follow s.
func (x *search) next(s state) {
	for i := range x.cfg.nodes {
		x.expire(s, i)
		x.lose(s, i)
		x.comeBack(s, i)
	}
	for c := range x.cfg.attempts {
		a := &s.attempts[c]
		if a.life == idle {
			x.start(s, c)
			continue
		}
		x.leave(s, c)
		for i := range x.cfg.nodes {
			x.voteArrives(s, c, i)
			x.writeArrives(s, c, i)
			x.rejoin(s, c, i)
			x.replies(s, c, i)
		}
	}
}

// start begins an attempt. They begin in order, as they are alike; of one claim's
// the second begins when the first is over.
func (x *search) start(s state, c int) {
	if c > 0 && s.attempts[c-1].life == idle || x.cfg.claim(c) != c && s.attempts[x.cfg.claim(c)].life != over {
		return
	}
	a := &s.attempts[c]
	a.life = running
	for j := range x.cfg.attempts {
		a.floor = max(a.floor, s.attempts[j].won)
	}
	x.push(s, ev("attempt %d starts", c))
}

// leave: a client gives up or lets go, at any moment after which it believes
// nothing.
func (x *search) leave(s state, c int) {
	a := &s.attempts[c]
	switch {
	case a.life == over:
		return
	case x.cfg.anytime && (!x.cfg.oneClaim || a.life == holding):
		return // where claims end at any moment, who believes what is not looked at
	}
	v := a.vote.open(x.cfg.nodes)
	v.Expire()
	a.vote, a.life = compacted(v), over
	x.push(s, ev("client %d lets go", c))
}

// ends says whether the claim of attempt c may end at a node now: where TTLs are
// kept, only after its client stopped to believe in it.
func (x *search) ends(s *state, owner uint8) bool {
	return owner != 0 && (x.cfg.anytime || s.attempts[owner-1].life == over)
}

// expire is the end of a claim at a node, by its TTL, a release, or a withdrawal.
func (x *search) expire(s state, i int) {
	n := &s.nodes[i]
	owner := n.owner
	if x.cfg.broken == withdrawAny && owner != 0 {
		// A withdrawal of an earlier attempt of the claim takes a later one's vote.
		first := x.cfg.claim(int(owner - 1))
		if s.attempts[first].life == over {
			n.owner = 0
			x.push(s, ev("withdrawal of %d ends the claim at node %d", first, i))
			return
		}
	}
	if !x.ends(&s, owner) {
		return
	}
	n.owner = 0
	x.push(s, ev("the claim at node %d ends", i))
}

// lose: a node forgets everything. By the clock its count begins above all that it
// was, and it does not vote before what was granted then has ended.
func (x *search) lose(s state, i int) {
	if s.losses >= x.cfg.losses {
		return
	}
	s.losses++
	n := &s.nodes[i]
	n.owner, n.count = 0, x.cfg.seed*s.losses
	if !x.cfg.anytime && x.cfg.broken != votesAtOnce {
		for j := range x.cfg.attempts {
			if l := s.attempts[j].life; l == running || l == holding {
				n.out |= 1 << j
			}
		}
	}
	x.push(s, ev("node %d loses its data", i))
}

// comeBack: the longest TTL has passed since the node restarted.
func (x *search) comeBack(s state, i int) {
	n := &s.nodes[i]
	if n.out == 0 {
		return
	}
	for j := range x.cfg.attempts {
		if n.out>>j&1 == 1 && s.attempts[j].life != over {
			return
		}
	}
	n.out = 0
	x.push(s, ev("node %d may vote again", i))
}

// voteArrives is lua/acquire.lua.
func (x *search) voteArrives(s state, c, i int) {
	a, n := &s.attempts[c], &s.nodes[i]
	if n.out != 0 {
		return
	}
	if a.asked.Has(i) {
		if s.repeats >= x.cfg.repeats {
			return
		}
		s.repeats++
	}
	owner := int(n.owner) - 1
	switch {
	case owner < 0, owner != c && x.cfg.claim(owner) == x.cfg.claim(c) && owner < c: // free, or an earlier attempt's of the claim
		n.owner = uint8(c + 1)
		n.count++
		x.granted(s, c, i)
		if x.cfg.jump > 0 { // the clock is ahead of the count
			n.count += x.cfg.jump
			x.granted(s, c, i)
		}
	case owner == c:
		x.granted(s, c, i)
	case x.cfg.refusals && !a.asked.Has(i):
		a.asked, a.refused = a.asked.With(i), a.refused.With(i)
		x.push(s, ev("node %d refuses %d", i, c))
	}
}

// granted puts a vote on its way. One that is on its way already may be overtaken
// by it, or not.
func (x *search) granted(s state, c, i int) {
	a := &s.attempts[c]
	first := !a.asked.Has(i)
	a.asked = a.asked.With(i)
	if !first && a.granted.Has(i) {
		x.push(s, ev("node %d votes for %d again, and the reply is lost", i, c))
	}
	if a.life == running && !a.vote.forUs.Has(i) {
		a.granted, a.reply[i] = a.granted.With(i), s.nodes[i].count
	}
	x.push(s, ev("node %d votes for %d with %d", i, c, int(s.nodes[i].count)))
}

// writeArrives is lua/write.lua.
func (x *search) writeArrives(s state, c, i int) {
	a, n := &s.attempts[c], &s.nodes[i]
	if !a.writes.Has(i) || n.out != 0 {
		return
	}
	token := a.vote.token
	if x.cfg.broken != noOwnerCheck && n.owner != uint8(c+1) || x.cfg.broken != noGuard && n.count > token {
		if x.cfg.refusals {
			a.writes, a.no = a.writes.Without(i), a.no.With(i)
			x.push(s, ev("node %d declines the token of %d", i, c))
		}
		return
	}
	n.count = max(n.count, token)
	a.writes = a.writes.Without(i)
	if a.life == running {
		a.yes = a.yes.With(i)
	}
	x.push(s, ev("node %d takes token %d of %d", i, int(token), c))
}

// rejoin is lua/rejoin.lua: a holder takes a node again that nobody has.
func (x *search) rejoin(s state, c, i int) {
	a, n := &s.attempts[c], &s.nodes[i]
	if !x.cfg.rejoin || a.life != holding || n.owner != 0 || n.out != 0 {
		return
	}
	n.owner = uint8(c + 1)
	if x.cfg.broken == rejoinCountsDown {
		n.count = a.won
	} else {
		n.count = max(n.count, a.won)
	}
	x.push(s, ev("holder %d takes node %d again", c, i))
}

// replies is what reaches an attempt from a node, or is no longer waited for.
func (x *search) replies(s state, c, i int) {
	a := &s.attempts[c]
	if a.life != running {
		return
	}
	if a.granted.Has(i) {
		t := s
		b := &t.attempts[c]
		b.granted = b.granted.Without(i)
		x.tell(t, c, func(v *vote.Attempt) { v.Granted(i, uint64(b.reply[i])) }, ev("%d hears the vote of node %d", c, i))
	}
	if a.yes.Has(i) {
		t := s
		t.attempts[c].yes = a.yes.Without(i)
		x.tell(t, c, func(v *vote.Attempt) { v.Wrote(i) }, ev("%d hears that node %d took its token", c, i))
	}
	if !x.cfg.refusals {
		return
	}
	if a.refused.Has(i) {
		t := s
		t.attempts[c].refused = a.refused.Without(i)
		x.tell(t, c, func(v *vote.Attempt) { v.Refused(i) }, ev("%d hears that node %d refused", c, i))
	}
	if a.no.Has(i) {
		t := s
		t.attempts[c].no = a.no.Without(i)
		x.tell(t, c, func(v *vote.Attempt) { v.Decline(i) }, ev("%d hears that node %d declined", c, i))
	}
	if !a.vote.silent.Has(i) {
		x.tell(s, c, func(v *vote.Attempt) { v.Mute(i) }, ev("%d waits no longer for node %d", c, i))
	}
}

// tell has the deciding code take an answer, and does what it says.
func (x *search) tell(s state, c int, answer func(*vote.Attempt), what event) {
	a := &s.attempts[c]
	v := a.vote.open(x.cfg.nodes)
	answer(&v)
	if x.cfg.broken == noSecondRound && v.Phase == vote.Writing {
		v.Phase = vote.Won
	}
	token := uint8(v.Token)
	switch v.Phase {
	case vote.Writing:
		a.writes |= v.Write() &^ a.yes &^ a.no
	case vote.Lost:
		a.life = over
	case vote.Won:
		a.life, a.won = holding, token
	}
	if v.Phase >= vote.Won {
		a.granted, a.refused, a.yes, a.no, a.reply = 0, 0, 0, 0, [maxNodes]uint8{}
		if v.Phase == vote.Won {
			a.writes = 0 // what is late changes nothing but counts, upwards: writeArrives may have been before
		}
	}
	a.vote = compacted(v)
	if v.Phase == vote.Won {
		x.won(s, c, what)
		return
	}
	x.push(s, what)
}
