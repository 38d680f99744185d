package zkengine

import (
	"context"
	"errors"
	"time"

	"github.com/go-zookeeper/zk"
)

// The going of a claim's node is watched for, so that a holder learns at once of what
// removes it by force. A claim that waits is watched before it waits, for the watch is
// what confirms its grant (look). One that was granted as soon as it was made is watched
// when it has been held for a moment: most are gone by then, and a watch on each would
// cost a request, and an event of its going.

// armAfter is how long a claim is held before its going is watched.
const armAfter = 50 * time.Millisecond

// armLater has a granted claim watched. mu is held, and the session has not ended.
func (s *Session) armLater(p *place) {
	if p.armed != 0 {
		return
	}
	p.since = time.Now()
	s.unarmed[p] = struct{}{}
	if !s.arming {
		s.arming = true
		s.work.Go(s.armAll)
	}
}

// armAll goes on until every claim that is held is watched.
func (s *Session) armAll() {
	timer := time.NewTimer(armAfter)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
		case <-s.ctx.Done():
			return
		}
		_ = s.armHeld(s.ctx, armAfter) // what failed is tried again
		s.mu.Lock()
		s.arming = len(s.unarmed) > 0 && s.ctx.Err() == nil && !s.z.ended()
		goOn := s.arming
		s.mu.Unlock()
		if !goOn {
			return
		}
		timer.Reset(armAfter)
	}
}

// armHeld watches the claims that have been held for so long. Of one that has gone in
// the meantime it tells as the event would have.
func (s *Session) armHeld(ctx context.Context, held time.Duration) error {
	var todo []*place
	s.mu.Lock()
	for p := range s.unarmed {
		if time.Since(p.since) >= held {
			todo = append(todo, p)
		}
	}
	s.mu.Unlock()
	if len(todo) == 0 {
		return nil
	}
	_, err := call(ctx, s, func() (struct{}, error) {
		return struct{}{}, eachParallel(len(todo), func(i int) error { return s.armOne(todo[i]) })
	})
	return err
}

func (s *Session) armOne(p *place) error {
	err := s.arm(p)
	switch {
	case errors.Is(err, zk.ErrNoNode):
		p.event(zk.Event{Type: zk.EventNodeDeleted, Path: p.path})
	case err != nil:
		return err
	}
	s.mu.Lock()
	delete(s.unarmed, p)
	s.mu.Unlock()
	return nil
}
