package redlock

import (
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// waitRoom is where Acquires that wait are found by what concerns them.
type waitRoom struct {
	mu     sync.Mutex
	claims map[engine.ClaimID]*waiting
}

// waiting is one Acquire. Who has news for it leaves them here and wakes it.
type waiting struct {
	woken chan struct{} // holds one

	mu sync.Mutex
	news
}

// news is what an Acquire knows of its name, node by node.
type news struct {
	seen    [vote.MaxNodes]sight
	asked   time.Time // the last request that a majority answered: it lives until a TTL after it
	told    vote.Set  // nodes that told that the name is free, since the last attempt began
	mended  vote.Set  // nodes whose subscription came back: what they told nobody heard
	removed vote.Set  // nodes where somebody removed it
	learned bool      // something was seen
}

// sight is what one node said last.
type sight struct {
	known   bool
	at      time.Time
	rank    int           // how many are before it in line; < 0: it is in none
	left    time.Duration // until the name is free there if nobody renews it
	forever bool          // nobody knows until when
	foreign bool          // another program has it, and tells nobody
}

func (r *waitRoom) enter(id engine.ClaimID) *waiting {
	w := &waiting{woken: make(chan struct{}, 1)}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims == nil {
		r.claims = make(map[engine.ClaimID]*waiting)
	}
	r.claims[id] = w
	return w
}

func (r *waitRoom) leave(id engine.ClaimID, w *waiting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.claims[id] == w {
		delete(r.claims, id)
	}
}

// tell says whether an Acquire of the claim is under way.
func (r *waitRoom) tell(id engine.ClaimID, change func(*news)) bool {
	r.mu.Lock()
	w := r.claims[id]
	r.mu.Unlock()
	if w != nil {
		w.change(change)
	}
	return w != nil
}

func (r *waitRoom) tellAll(change func(*news)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, w := range r.claims {
		w.change(change)
	}
}

func (w *waiting) change(change func(*news)) {
	w.mu.Lock()
	change(&w.news)
	w.mu.Unlock()
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

// begin forgets what was told before an attempt: what is told from now on may be
// later than the votes.
func (w *waiting) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told, w.mended, w.learned = 0, 0, false
}

func (w *waiting) now() news {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.learned = false
	return w.news
}

// foreignPoll is how often the first in line looks whether another program has given
// the name back, at most.
const foreignPoll = 100 * time.Millisecond

// nudge is how long one that fewer nodes than a majority told that the name is
// free waits for the others, or for whoever they told.
func nudge() time.Duration { return 5*time.Millisecond + rand.N(15*time.Millisecond) }

// nextLook is when the claim looks by itself, if it does before it is told. Only who
// is first somewhere does: when a name's time is over nobody is told. It looks when a
// majority of nodes is free by what is known.
func (n *news) nextLook(nodes int) (at time.Time, looks bool) {
	first, foreign, free := false, false, make([]time.Time, 0, vote.MaxNodes)
	for i := range nodes {
		s := n.seen[i]
		if !s.known {
			continue
		}
		first = first || s.rank == 0
		foreign = foreign || s.foreign
		if !s.forever {
			free = append(free, s.at.Add(s.left))
		}
		if n.mended.Has(i) && s.rank == 0 {
			return time.Now(), true
		}
	}
	if !first {
		return at, false
	}
	jitter := time.Millisecond + rand.N(5*time.Millisecond)
	if majority := vote.Majority(nodes); len(free) >= majority {
		slices.SortFunc(free, time.Time.Compare)
		at, looks = free[majority-1].Add(jitter), true
	}
	if poll := time.Now().Add(foreignPoll/2 + rand.N(foreignPoll/2)); foreign && (!looks || poll.Before(at)) {
		return poll, true
	}
	return at, looks
}
