package memengine

import (
	"slices"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Service is the shared state behind one or more engines: what a server is
// elsewhere. Its methods but Engine are controls for tests.
type Service struct {
	now func() time.Time

	mu           sync.Mutex
	tell         []func() // called by unlock when nothing is locked
	transactions int
	counter      uint64 // the one source of tokens and revisions
	sessions     map[*Session]struct{}
	lines        map[string]*line
	watchers     map[string]map[*lineWatcher]struct{}
	maps         map[string]*namedMap
	commits      commits
	swept        time.Time
}

// Option changes how a service is made.
type Option func(*Service)

// WithClock reads the time elsewhere than at [time.Now]. What it returns must
// carry Go's monotonic reading: only that is used, so the wall clock's steps end
// nothing and prolong nothing.
func WithClock(now func() time.Time) Option {
	return func(s *Service) { s.now = now }
}

// NewService makes an empty service, without any engine on it yet.
func NewService(opts ...Option) *Service {
	s := &Service{
		now:      time.Now,
		sessions: make(map[*Session]struct{}),
		lines:    make(map[string]*line),
		watchers: make(map[string]map[*lineWatcher]struct{}),
		maps:     make(map[string]*namedMap),
	}
	for _, o := range opts {
		o(s)
	}
	s.swept = s.now()
	return s
}

// Engine is another handle on the service, as another process has.
func (s *Service) Engine() *Engine {
	return &Engine{service: s, closed: make(chan struct{})}
}

// EndSession makes the service forget a session of one of its engines now, as if
// its TTL had run out. One of another kind of engine is left alone.
func (s *Service) EndSession(session engine.Session) {
	s.lock()
	defer s.unlock()
	if own, ok := session.(*Session); ok {
		own.expire()
	}
}

// Forget loses all data: sessions, claims, maps, and which commits were made.
// The counter goes on, as tokens must keep rising (S2); no revision from before
// is one that any map still knows.
func (s *Service) Forget() {
	s.lock()
	defer s.unlock()
	for session := range s.sessions {
		session.expire()
	}
	for _, l := range s.lines {
		s.remove(slices.Clone(l.claims)...)
	}
	s.commits = commits{}
	now, next := s.now(), engine.Revision(s.next())
	for name, m := range s.maps {
		m.reset(next, now)
		if m.watchers == 0 {
			delete(s.maps, name)
		}
	}
}

// EndOverdue ends the sessions and terms that are over by the service's clock: for
// one that jumps ([WithClock]), which no timer follows.
func (s *Service) EndOverdue() {
	s.lock()
	defer s.unlock()
	now := s.now()
	for session := range s.sessions {
		if !now.Before(session.deadline) {
			session.expire()
		}
	}
	var over []*claim
	for _, l := range s.lines {
		for _, c := range l.claims {
			if !c.until.IsZero() && !now.Before(c.until) {
				over = append(over, c)
			}
		}
	}
	s.remove(over...)
}

// Compact makes a map forget how it became what it is: whoever watches it from
// an earlier revision meets a gap.
func (s *Service) Compact(name string) {
	s.lock()
	defer s.unlock()
	if m := s.maps[name]; m != nil {
		m.trim(0)
	}
}

// Transactions counts what clients have asked of the service so far, and what
// ended by itself. Waiting counts nothing (S8).
func (s *Service) Transactions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.transactions
}

func (s *Service) lock() {
	s.mu.Lock()
	s.transactions++
}

// unlock tells sessions what they lost only now: their Lost may call back.
func (s *Service) unlock() {
	tell := s.tell
	s.tell = nil
	s.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

func (s *Service) next() uint64 {
	s.counter++
	return s.counter
}
