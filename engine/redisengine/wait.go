package redisengine

import (
	"math/rand/v2"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// waitRoom is where Acquires are found by what concerns them: a grant that was
// published, the answer of a renewal, a subscription that came back. An Acquire
// enters before its first request, so that no grant comes before it.
type waitRoom struct {
	mu     sync.Mutex
	claims map[engine.ClaimID][]*waiting // one each, but for an Acquire that is repeated
}

// waiting is one Acquire.
type waiting struct {
	told   chan push       // holds one
	beaten chan beatAnswer // holds one
	looks  chan struct{}   // holds one
	gone   chan struct{}   // holds one

	// What the last request that was answered "waits" proved: the claim lives
	// until ttl after it, on the server. A renewal moves it.
	mu   sync.Mutex
	seen seen
}

// seen is one answer "waits".
type seen struct {
	sent    time.Time // the request
	at      int64     // the server's time then, µs
	last    engine.Token
	place   int
	left    time.Duration // until what is in the way ends by itself; < 0: it does not
	foreign bool          // another program holds the name, and tells nobody
}

// beatAnswer is what a renewal found of the claim.
type beatAnswer struct {
	token engine.Token // granted; 0: see seen
	until time.Time
}

func (r *waitRoom) enter(id engine.ClaimID) *waiting {
	w := &waiting{
		told: make(chan push, 1), beaten: make(chan beatAnswer, 1), looks: make(chan struct{}, 1), gone: make(chan struct{}, 1),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims == nil {
		r.claims = make(map[engine.ClaimID][]*waiting)
	}
	r.claims[id] = append(r.claims[id], w)
	return w
}

func (r *waitRoom) leave(id engine.ClaimID, w *waiting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := r.claims[id]
	for i, other := range all {
		if other == w {
			all = append(all[:i:i], all[i+1:]...)
			break
		}
	}
	if len(all) == 0 {
		delete(r.claims, id)
		return
	}
	r.claims[id] = all
}

// has says whether an Acquire of the claim is under way.
func (r *waitRoom) has(id engine.ClaimID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.claims[id]) > 0
}

// each runs f for the Acquires of a claim. f does not block.
func (r *waitRoom) each(id engine.ClaimID, f func(*waiting)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.claims[id] {
		f(w)
	}
}

func (r *waitRoom) push(id engine.ClaimID, p push) {
	r.each(id, func(w *waiting) { offer(w.told, p) })
}

func (r *waitRoom) look(id engine.ClaimID) {
	r.each(id, func(w *waiting) { offer(w.looks, struct{}{}) })
}

func (r *waitRoom) remove(id engine.ClaimID) {
	r.each(id, func(w *waiting) { offer(w.gone, struct{}{}) })
}

// beat passes on what a renewal found: a grant, or where the claim waits.
func (r *waitRoom) beat(id engine.ClaimID, a beatAnswer, s seen) {
	r.each(id, func(w *waiting) {
		if a.token == 0 && !w.see(s) {
			return
		}
		offer(w.beaten, a)
	})
}

func (r *waitRoom) lookAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, all := range r.claims {
		for _, w := range all {
			offer(w.looks, struct{}{})
		}
	}
}

func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// see takes note of an answer, unless a later one has come first.
func (w *waiting) see(s seen) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if s.sent.Before(w.seen.sent) {
		return false
	}
	if w.seen.last > s.last {
		s.last = w.seen.last
	}
	w.seen = s
	return true
}

func (w *waiting) last() seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.seen
}

// foreignPoll is how often the first in line looks whether another program has
// given the name back, at most.
const foreignPoll = 100 * time.Millisecond

// nextLook is when the claim looks by itself, if it does before its renewal. Only
// the first in line does: when what is in its way ends by its TTL nobody is told.
func (s seen) nextLook() (time.Duration, bool) {
	if s.place > 0 {
		return 0, false
	}
	jitter := rand.N(5 * time.Millisecond)
	poll := foreignPoll/2 + rand.N(foreignPoll/2)
	switch {
	case s.foreign && (s.left < 0 || s.left > poll):
		return poll, true
	case s.left < 0:
		return 0, false
	}
	return s.left + jitter + time.Millisecond, true
}

// trust is the grant of a push that can be believed without asking. The server
// vouched for the claim for life from its time p.at on; s.at was its time when it
// answered the request sent at s.sent. As long as its clock did not step between
// the two, p.at lies as far behind s.sent as it lies behind s.at: the difference
// cannot be more than what passed here until the push was received. A push that
// is older than the answer is of an earlier life of the claim.
func (s seen) trust(p push) (engine.Grant, bool) {
	const slack = time.Millisecond
	passed := time.Duration(p.at-s.at) * time.Microsecond
	if s.sent.IsZero() || p.token <= s.last || passed < 0 || passed > p.received.Sub(s.sent)+slack {
		return engine.Grant{}, false
	}
	return engine.Grant{Token: p.token, Until: s.sent.Add(passed + p.life)}, true
}
