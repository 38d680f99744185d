package zkengine

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// Renew is one write, whatever the number of claims: a transaction that checks the
// session's marker and changes nothing, to which a quorum has to agree.
//
// Pings and reads renew nothing that can be trusted: a follower that was cut off
// from its leader answers them for seconds after the session has ended elsewhere.
//
// That a claim is gone is known from the watch on its node. The event of a removal
// before this write comes before its answer, on the same connection.
func (s *Session) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	if err := s.check(); err != nil {
		return engine.Renewal{}, err
	}
	// Whoever does not answer in this time is not waited for: the connection is
	// dropped, also where pings are answered over it, and another server may answer
	// before the window closes.
	ctx, cancel := context.WithTimeout(ctx, s.TTL()/6)
	defer cancel()
	_, before := s.c.tap.now()
	err := s.armHeld(ctx, 0)
	sent := time.Now()
	if err == nil {
		_, err = call(ctx, s, func() (struct{}, error) {
			_, _, err := s.c.multi(&zk.CheckVersionRequest{Path: s.marker, Version: -1})
			return struct{}{}, err
		})
	}
	_, after := s.c.tap.now()
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && before != nil && before == after {
		before.drop()
	}
	switch {
	case errors.Is(err, zk.ErrNoNode): // somebody has removed the marker
		return engine.Renewal{}, engine.ErrSessionEnded
	case err != nil:
		return engine.Renewal{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.renewed = sent
	if before != nil && before == after {
		s.proofs.answered(before, sent)
	}
	s.ttl = s.proofs.timeout
	r := engine.Renewal{Proven: s.proofs.last, TTL: s.ttl}
	for _, c := range claims {
		p := s.places[c.ID]
		if (p == nil || p.gone) && s.busy[c.ID] == nil {
			r.Lost = append(r.Lost, c.ID)
		}
	}
	return r, nil
}

// proofs are from when the session is proven to live for its timeout.
//
// A write that was answered is not enough: followers tell the leader which sessions
// they heard of only when it pings them, every half tick, and a follower may be cut
// off after it passed the write on. But when write k is answered, the leader has had
// whatever the follower told before k; so it knows of a write that was sent over the
// same connection a quarter of the timeout (at least half a tick) before. It knows at
// once of a connection that is made: the follower has to ask it whether the session
// is valid.
type proofs struct {
	link    *link
	sent    []time.Time // writes that were answered over link, in order
	last    time.Time
	timeout time.Duration // as it was negotiated when last was
}

func (p *proofs) begin(at time.Time, timeout time.Duration) { p.last, p.timeout = at, timeout }

// answered notes a write over l.
func (p *proofs) answered(l *link, sent time.Time) {
	if p.link != l {
		p.link, p.sent = l, nil
	}
	proven := l.began
	known := 0
	for i, earlier := range p.sent {
		if !earlier.After(sent.Add(-l.timeout / 4)) {
			proven, known = earlier, i
		}
	}
	p.sent = append(p.sent[known:], sent)
	if proven.After(p.last) {
		p.last, p.timeout = proven, l.timeout
	}
}
