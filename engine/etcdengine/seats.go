package etcdengine

import (
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Which key a claim has. etcd keeps a deleted key in its index until the history is
// compacted, and each read of a line passes over it: with a key of its own for each
// claim, a lock slows down with every use. So a claim takes the seat of an earlier one
// of its session, name and shape that has ended, as concurrency.Mutex uses one key for
// ever; unlike there, two claims never share one, and the value says whose it is now.
//
// A key is made only where there is none, and changed or removed only as the claim's
// whose id it holds, or as of the revision that was seen: so what is sent about a claim
// harms no other one, whatever is remembered here (S3). The one request that asks for no
// id is the first that removes a key, and nobody has that seat before it was answered.
//
// A seat whose claim has a request of unknown outcome is not used again: a put of it that
// comes late must stand in a key that no other claim has, where a withdrawal finds it by
// name. A renewal finds what is in any key by there being no claim for it (S4).

// seats are those of one session.
type seats struct {
	mu      sync.Mutex
	taken   map[engine.ClaimID]seat // by claims, all of whose requests were answered so far
	doubted map[engine.ClaimID]doubt
	free    map[row][]seat
	spare   int    // in free
	made    uint64 // so far
}

// seat is what tells a key from others of its row: a number, short as it is sent so often.
type seat struct {
	id      string
	crowded bool // others were in line when it was taken
}

// row is what seats are of: in another, a key says something else.
type row struct {
	name  string
	shape shape
}

// doubt is the seat of a claim with a request of unknown outcome, or one that may become
// that.
type doubt struct {
	seat   seat
	since  time.Time // when the last call for the claim ended; zero: one is under way, or it is held
	leaves bool      // it was in no doubt, and the request is under way that removes its key
}

// maxSpare bounds what is remembered of names that are no longer used.
const maxSpare = 1024

// take is the seat that the claim has, else one to try. calm: nobody else was in line
// when it was taken last.
func (s *seats) take(c *engine.Claim, sh shape) (id string, calm bool) {
	if !sh.reseats() {
		return string(c.ID), false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.doubted[c.ID]; ok {
		s.suspect(c.ID, doubt{seat: d.seat})
		return d.seat.id, false
	}
	if at, ok := s.taken[c.ID]; ok {
		return at.id, false
	}
	r := row{c.Name, sh}
	if left := s.free[r]; len(left) > 0 {
		at := left[len(left)-1]
		s.unspare(r, len(left)-1)
		s.sit(c.ID, seat{id: at.id})
		return at.id, !at.crowded
	}
	at := s.another()
	s.sit(c.ID, at)
	return at.id, false
}

// another is a seat that nobody had. mu is held.
func (s *seats) another() seat {
	s.made++
	return seat{id: strconv.FormatUint(s.made, 10)}
}

// sit gives the claim a seat. mu is held.
func (s *seats) sit(id engine.ClaimID, at seat) {
	if s.taken == nil {
		s.taken = make(map[engine.ClaimID]seat)
	}
	s.taken[id] = at
}

// crowd says that others are in line.
func (s *seats) crowd(id engine.ClaimID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, ok := s.taken[id]; ok {
		s.sit(id, seat{id: at.id, crowded: true})
	}
}

// move is another seat, for a claim that finds another one in its own.
func (s *seats) move(id engine.ClaimID) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.another()
	if _, ok := s.doubted[id]; ok {
		s.suspect(id, doubt{seat: at})
	} else {
		s.sit(id, at)
	}
	return at.id
}

// of is the seat that the claim has. One that needs none, or that nothing is known of,
// has its own: that of the latter is empty.
func (s *seats) of(c *engine.Claim) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d, ok := s.doubted[c.ID]; ok {
		return d.seat.id
	}
	if at, ok := s.taken[c.ID]; ok {
		return at.id
	}
	return string(c.ID)
}

// unsure says that an Acquire of the claim has an unknown outcome.
func (s *seats) unsure(c *engine.Claim, sh shape, id string) {
	if !sh.reseats() {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.taken, c.ID)
	s.suspect(c.ID, doubt{seat: seat{id: id}, since: time.Now()})
}

// leaving says that the claim's key is about to be removed. alone: no other request for
// the claim can be under way, nor may have been lost, so until it has left nobody else
// has its seat.
func (s *seats) leaving(id engine.ClaimID) (alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.taken[id]
	if ok {
		delete(s.taken, id)
		s.suspect(id, doubt{seat: at, leaves: true})
	}
	return ok
}

// left says that the claim has no key any more; alone is what leaving said of the request
// that was answered. Others may have its seat, unless a request may still be on its way.
func (s *seats) left(c *engine.Claim, sh shape, alone bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch d, ok := s.doubted[c.ID]; {
	case ok && d.leaves && alone:
		delete(s.doubted, c.ID)
		s.spareFor(row{c.Name, sh}, d.seat)
	case ok && !d.leaves:
		s.rest(c.ID)
	}
}

// stays says that what became of the claim's key is not known.
func (s *seats) stays(id engine.ClaimID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rest(id)
}

// rest says that no call is under way for a claim in doubt. mu is held.
func (s *seats) rest(id engine.ClaimID) {
	if d, ok := s.doubted[id]; ok {
		s.suspect(id, doubt{seat: d.seat, since: time.Now()})
	}
}

// suspect has the claim in doubt. mu is held.
func (s *seats) suspect(id engine.ClaimID, d doubt) {
	if s.doubted == nil {
		s.doubted = make(map[engine.ClaimID]doubt)
	}
	s.doubted[id] = d
}

// spareFor keeps a seat for the next claim of its row. mu is held.
func (s *seats) spareFor(r row, at seat) {
	if s.free == nil {
		s.free = make(map[row][]seat)
	}
	for other, left := range s.free { // any: a seat that is forgotten costs a new one
		if s.spare < maxSpare {
			break
		}
		s.unspare(other, len(left)-1)
	}
	s.free[r] = append(s.free[r], at)
	s.spare++
}

// unspare takes the last, n-th, of a row.
func (s *seats) unspare(r row, n int) {
	s.spare--
	if s.free[r] = s.free[r][:n]; n == 0 {
		delete(s.free, r)
	}
}

// drop says that others removed the claim: who may use its seat is not known.
func (s *seats) drop(id engine.ClaimID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.taken, id)
	s.rest(id)
}

// forget drops doubts that no call was made for since then.
func (s *seats) forget(then time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, d := range s.doubted {
		if !d.since.IsZero() && d.since.Before(then) {
			delete(s.doubted, id)
		}
	}
}
