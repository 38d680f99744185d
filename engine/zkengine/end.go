package zkengine

import (
	"context"
	"errors"

	"github.com/lockstep-go/lockstep/engine"
)

// A session on a connection of its own ends with it: ZooKeeper removes all that it
// made, in one step, at the latest when its timeout has passed. Nothing would remove
// what a session leaves on a client of the caller's, which goes on to send pings: so
// the engine does, however long no server can be reached (part).

// End lets go of everything. Whether the end of ZooKeeper's session has arrived is
// seen by the marker; what was not ended so is removed claim by claim.
func (s *Session) End(ctx context.Context, _ []*engine.Claim) error {
	if s.e.isOver() {
		return engine.ErrClosed
	}
	s.finish()
	var err error
	if s.shared() {
		err = s.awaitParting(ctx)
	} else {
		s.closing(ctx)
		err = s.sweep(ctx)
	}
	if err != nil {
		return err
	}
	s.telling.Wait()
	return nil
}

// lapse ends the session that nobody renews.
func (s *Session) lapse() {
	s.finish()
	if s.shared() {
		s.part()
	} else {
		s.c.close()
	}
}

// finish has every wait of the session end.
func (s *Session) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.isEnded {
		s.isEnded = true
		close(s.ended)
		s.stop()
	}
}

// closing ends the connection; what is not done when ctx ends goes on in a
// goroutine of the engine's.
func (s *Session) closing(ctx context.Context) {
	done := make(chan struct{})
	if !s.e.background(func() {
		defer close(done)
		s.c.close()
		s.work.Wait()
		s.e.forget(s)
	}) {
		return // Close does it
	}
	select {
	case <-done:
	case <-ctx.Done():
	}
}

// abandon is for a session that the engine's Close meets: it ends as it can.
func (s *Session) abandon() {
	s.finish()
	if !s.shared() {
		s.c.close()
	}
	s.work.Wait()
}

// unlisten drops what the session remembers of lines, on a client that lives on.
func (s *Session) unlisten() {
	s.mu.Lock()
	all := s.emptied
	s.emptied = make(map[string]*emptied)
	s.mu.Unlock()
	for dir, e := range all {
		s.c.tap.unlisten(dir, e)
	}
}

// forget drops a session that has nothing left on this machine.
func (e *Engine) forget(s *Session) {
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.sessions, s)
}

// sweep removes, over the engine's connection, what the session has left: nothing
// where its end has arrived at ZooKeeper.
func (s *Session) sweep(ctx context.Context) error {
	_, err := ask(ctx, s.e, func() (struct{}, error) {
		c := s.e.conn
		if err := c.latest(); err != nil {
			return struct{}{}, err
		}
		stat, err := c.exists(s.marker)
		if err != nil || stat == nil {
			return struct{}{}, err
		}
		if err := s.removeClaims(c); err != nil {
			return struct{}{}, err
		}
		return struct{}{}, absent(c.delete(s.marker))
	})
	return err
}

// part begins, once, to remove what a session has on a client that lives on.
func (s *Session) part() {
	s.parting.Do(func() {
		begun := s.e.background(func() {
			defer close(s.parted)
			s.partErr = s.removeUntilDone()
			s.unlisten()
			s.e.forget(s)
		})
		if !begun {
			s.partErr = engine.ErrClosed
			close(s.parted)
		}
	})
}

func (s *Session) awaitParting(ctx context.Context) error {
	s.part()
	select {
	case <-s.parted:
		return s.partErr
	case <-ctx.Done():
		return ctx.Err()
	}
}

// removeUntilDone tries once over each connection, until all is removed, or the
// client's session has ended, which removes it.
func (s *Session) removeUntilDone() error {
	s.work.Wait() // for what was under way: then every place is known
	for {
		_, link, err := s.c.tap.await(s.e.ctx)
		switch {
		case err != nil:
			return s.e.orClosed(err)
		case s.z.ended():
			return nil
		}
		_, err = ask(s.e.ctx, s.e, func() (struct{}, error) {
			// First the marker: nothing that is still on its way is made after it.
			if err := absent(s.c.delete(s.marker)); err != nil {
				return struct{}{}, err
			}
			return struct{}{}, s.removeClaims(s.c)
		})
		if !errors.Is(err, errLink) {
			return err // nil, or a refusal for good
		}
		select {
		case <-link.gone:
		case <-s.z.over:
		case <-s.e.ctx.Done():
		}
	}
}

// removeClaims ends those who wait first, or each removal would let in the next of
// our own.
func (s *Session) removeClaims(c *conn) error {
	s.mu.Lock()
	all := make([]*place, 0, len(s.places))
	for _, p := range s.places {
		p.leaving = true
		all = append(all, p)
	}
	s.mu.Unlock()
	for _, held := range []bool{false, true} {
		err := eachParallel(len(all), func(i int) error {
			p := all[i]
			if p.granted != held { // which does not change any more
				return nil
			}
			_, err := c.removeByID(p.dir, p.id)
			if err == nil {
				s.forget(p)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}
