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
	claims map[engine.ClaimID]*waiting
}

// waiting is one Acquire. Who has news for it leaves them here and wakes it.
type waiting struct {
	woken chan struct{} // holds one
	next  *waiting      // another Acquire of the same claim

	mu sync.Mutex
	news
}

// news is what has come since the Acquire last looked, and what the last request
// that was answered "waits" has proved: the claim lives until ttl after it, on the
// server. A renewal moves it.
type news struct {
	seen    seen
	push    push       // a grant that was published; its token is 0: none was
	granted beatAnswer // what a renewal found
	look    bool       // something changed: ask
	gone    bool       // it may be out of the line
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

// spare are those that have left: most Acquires are granted at once, and leave
// before anybody has looked for them.
var spare sync.Pool

func (r *waitRoom) enter(id engine.ClaimID) *waiting {
	w, ok := spare.Get().(*waiting)
	if !ok {
		w = &waiting{woken: make(chan struct{}, 1)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims == nil {
		r.claims = make(map[engine.ClaimID]*waiting)
	}
	w.next = r.claims[id]
	r.claims[id] = w
	return w
}

// leave ends an Acquire: nobody has news for it any more.
func (r *waitRoom) leave(id engine.ClaimID, w *waiting) {
	r.mu.Lock()
	if first := r.claims[id]; first != w {
		for first.next != w {
			first = first.next
		}
		first.next = w.next
	} else if w.next != nil {
		r.claims[id] = w.next
	} else {
		delete(r.claims, id)
	}
	r.mu.Unlock()
	select {
	case <-w.woken:
	default:
	}
	w.next, w.news = nil, news{}
	spare.Put(w)
}

// has says whether an Acquire of the claim is under way.
func (r *waitRoom) has(id engine.ClaimID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.claims[id] != nil
}

// tell changes the news of a claim's Acquires, and wakes them.
func (r *waitRoom) tell(id engine.ClaimID, change func(*news)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for w := r.claims[id]; w != nil; w = w.next {
		w.change(change)
	}
}

func (r *waitRoom) tellAll(change func(*news)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.claims {
		for ; w != nil; w = w.next {
			w.change(change)
		}
	}
}

func (w *waiting) change(change func(*news)) {
	w.mu.Lock()
	change(&w.news)
	w.mu.Unlock()
	offer(w.woken, struct{}{})
}

// take is the news, which are none then.
func (w *waiting) take() news {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.news
	w.news = news{seen: n.seen}
	return n
}

func offer[T any](c chan T, v T) {
	select {
	case c <- v:
	default:
	}
}

// see takes note of an answer, unless a later one has come first.
func (n *news) see(s seen) {
	if s.sent.Before(n.seen.sent) {
		return
	}
	s.last = max(s.last, n.seen.last)
	n.seen = s
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
