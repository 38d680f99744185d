package zkengine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// Session is one client's presence; it implements [engine.Session]. It is a session
// of ZooKeeper's, on a connection of its own unless the caller brought the client.
//
// Its marker is an ephemeral node. Every transaction that makes a claim, and every
// renewal, checks that it is there: so nothing of an ended session is ever made in
// the one that follows on the same connection, and nothing after End.
type Session struct {
	e      *Engine
	c      *conn
	z      *zkSession
	ttl    time.Duration
	lost   func(engine.ClaimID, error)
	marker string

	ended   chan struct{}   // closed by End
	ctx     context.Context // ends then, or with the engine
	stop    context.CancelFunc
	work    sync.WaitGroup
	parting sync.Once
	parted  chan struct{} // closed when part has come to its end
	partErr error         // and how

	mu      sync.Mutex
	isEnded bool
	telling sync.WaitGroup
	places  map[engine.ClaimID]*place
	busy    map[engine.ClaimID]chan struct{} // closed when the claim's turn ends
	unarmed map[*place]struct{}              // held, and not watched yet (armLater)
	arming  bool                             // armAll is at work
	emptied map[string]*emptied              // by the path of the line
	proofs  proofs
	renewed time.Time // when the last Renew that succeeded was sent
}

// place is a claim that has entered a line, or may have.
type place struct {
	s       *Session
	id      engine.ClaimID
	dir     string // of its line
	path    string // of its first node; "": not known
	czxid   int64
	armed   uint32    // the link over which its going is watched; 0: it is not
	since   time.Time // when it was granted, while it is to be watched
	first   bool      // nobody was ahead of it when it was granted
	doubt   bool      // a request that makes nodes of it has an unknown outcome
	granted bool
	leaving bool // we end it
	gone    bool // somebody else ended it
	waiters []*waiter
}

// Begin connects a session and makes its marker.
func (e *Engine) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	if o.TTL <= 0 {
		return nil, fmt.Errorf("%w: a TTL of %v", engine.ErrInvalid, o.TTL)
	}
	if e.isOver() {
		return nil, engine.ErrClosed
	}
	ctx, cancel := e.until(ctx)
	defer cancel()
	// What takes longer is over before it begins.
	ctx, cancel = context.WithTimeout(ctx, o.TTL)
	defer cancel()
	c := e.conn
	if e.begin != nil {
		var err error
		if c, err = e.begin(ctx, o.TTL); err != nil {
			return nil, e.orClosed(err)
		}
	}
	s, err := e.newSession(ctx, c, o)
	if err != nil {
		if c != e.conn {
			c.close()
		}
		return nil, e.orClosed(err)
	}
	if err := s.enroll(ctx); err != nil {
		if s.shared() {
			s.finish()
			s.part()
		} else {
			s.abandon()
		}
		return nil, e.orClosed(err)
	}
	return s, nil
}

// shared: the session is on a client of the caller's, which lives on after it.
func (s *Session) shared() bool { return s.c == s.e.conn }

func (e *Engine) orClosed(err error) error {
	if e.isOver() {
		return engine.ErrClosed
	}
	return err
}

func (e *Engine) newSession(ctx context.Context, c *conn, o engine.SessionOptions) (*Session, error) {
	z, l, err := c.tap.await(ctx)
	if err != nil {
		return nil, err
	}
	s := &Session{
		e: e, c: c, z: z, ttl: l.timeout, lost: o.Lost, marker: e.paths.of(sessions + "/" + rand.Text()),
		ended: make(chan struct{}), parted: make(chan struct{}),
		places: make(map[engine.ClaimID]*place), busy: make(map[engine.ClaimID]chan struct{}),
		unarmed: make(map[*place]struct{}), emptied: make(map[string]*emptied),
	}
	s.ctx, s.stop = context.WithCancel(e.ctx)
	s.proofs.begin(l.began, l.timeout)
	return s, nil
}

// enroll makes the marker, in a turn: what is left of a Begin that was given up is
// removed when that has ended.
func (s *Session) enroll(ctx context.Context) error {
	began := time.Now()
	if _, err := inTurn(ctx, s, "", func() (struct{}, error) { return struct{}{}, s.mark() }); err != nil {
		return err
	}
	if s.shared() {
		if err := s.prove(ctx, began); err != nil {
			return err
		}
	}
	s.e.mu.Lock()
	defer s.e.mu.Unlock()
	if s.e.isClosed {
		return engine.ErrClosed
	}
	s.e.sessions[s] = struct{}{}
	s.renewed = time.Now()
	s.work.Go(s.watch)
	return nil
}

// prove is for a client that has been connected for long: what Begin promises, that
// the session lives for its timeout from now on, is known only a quarter of that
// later (proofs).
func (s *Session) prove(ctx context.Context, began time.Time) error {
	timer := time.NewTimer(s.TTL() / 4)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	s.proofs.begin(began, s.ttl)
	return do(ctx, s.c, func() error {
		_, _, err := s.c.multi(&zk.CheckVersionRequest{Path: s.marker, Version: -1})
		return err
	})
}

// mark makes the marker.
func (s *Session) mark() error {
	for {
		_, err := s.c.zk.Create(s.marker, []byte{}, zk.FlagEphemeral, s.c.acl)
		if !errors.Is(err, zk.ErrNoNode) {
			return explain(err)
		}
		if err := s.c.ensure(parent(s.marker), false); err != nil {
			return err
		}
	}
}

// watch tells of the session's end. It ends it where no Renew has succeeded for its
// TTL: the client's pings would keep it for ever.
func (s *Session) watch() {
	timer := time.NewTimer(s.TTL())
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			if left := s.idleFor(); left > 0 {
				timer.Reset(left)
				continue
			}
			s.tell("", engine.ErrSessionEnded)
			s.lapse()
		case <-s.z.over:
			s.tell("", engine.ErrSessionEnded)
		case <-s.ended:
		}
		return
	}
}

// idleFor is how long the session may still be without a Renew.
func (s *Session) idleFor() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ttl - time.Since(s.renewed)
}

// TTL is what ZooKeeper granted: between the ensemble's bounds.
func (s *Session) TTL() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ttl
}

// check is nil while the session lives.
func (s *Session) check() error {
	if s.e.isOver() {
		return engine.ErrClosed
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.isEnded || s.z.ended() {
		return engine.ErrSessionEnded
	}
	return nil
}

// explain also knows that the session, or the engine, has ended.
func (s *Session) explain(err error) error {
	if err == nil || engine.Definite(err) && !errors.Is(err, engine.ErrClosed) {
		return err
	}
	if over := s.check(); over != nil {
		return over
	}
	return err
}

// tell passes a loss on. End waits for calls under way.
func (s *Session) tell(id engine.ClaimID, why error) {
	s.mu.Lock()
	if s.lost == nil || s.isEnded {
		s.mu.Unlock()
		return
	}
	s.telling.Add(1)
	s.mu.Unlock()
	defer s.telling.Done()
	s.lost(id, why)
}

// call is a request of the session's that obeys ctx, and the session's end.
func call[T any](ctx context.Context, s *Session, f func() (T, error)) (T, error) {
	v, err := await(ctx, s.c, f)
	return v, s.explain(err)
}

// inTurn runs what makes or ends nodes of one claim, one at a time and to its end,
// also where the caller leaves: so a Release knows what came of the Acquire before
// it, and nothing of that arrives later.
func inTurn[T any](ctx context.Context, s *Session, id engine.ClaimID, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	done, err := s.turn(ctx, id)
	if err != nil {
		return none, err
	}
	began := time.Now()
	out := make(chan result, 1)
	go func() {
		defer s.work.Done()
		v, err := f()
		out <- result{v, s.explain(err)}
		s.mu.Lock()
		delete(s.busy, id)
		s.mu.Unlock()
		close(done)
	}()
	select {
	case r := <-out:
		return r.v, r.err
	case <-ctx.Done():
		s.c.suspect(ctx, began)
		return none, ctx.Err()
	}
}

// turn waits until nobody else has the claim's turn, and takes it.
func (s *Session) turn(ctx context.Context, id engine.ClaimID) (chan struct{}, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		s.mu.Lock()
		if s.isEnded {
			s.mu.Unlock()
			return nil, engine.ErrSessionEnded
		}
		busy := s.busy[id]
		if busy == nil {
			done := make(chan struct{})
			s.busy[id] = done
			s.work.Add(1)
			s.mu.Unlock()
			return done, nil
		}
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// place is where the claim stands as far as is known; nil: nowhere.
func (s *Session) place(id engine.ClaimID) *place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.places[id]
}

// event is told of the claim's first node. Only its going is watched for.
func (p *place) event(ev zk.Event) {
	if ev.Type != zk.EventNodeDeleted {
		return
	}
	p.s.mu.Lock()
	tell := p.granted && !p.leaving && !p.gone
	p.gone = !p.leaving
	waiters := p.waiters
	p.s.mu.Unlock()
	for _, w := range waiters {
		w.wake()
	}
	if tell {
		p.s.tell(p.id, fmt.Errorf("claim removed: %w", engine.ErrNotFound))
	}
}

// forget drops a place that is no more. Those who wait for its grant learn it.
func (s *Session) forget(p *place) {
	s.c.tap.unlisten(p.path, p)
	s.mu.Lock()
	if s.places[p.id] == p {
		delete(s.places, p.id)
	}
	delete(s.unarmed, p)
	p.gone = true
	waiters := p.waiters
	s.mu.Unlock()
	for _, w := range waiters {
		w.wake()
	}
}

// absent takes it for done that there is nothing to remove.
func absent(err error) error {
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	return err
}

// SetNote replaces what others see of the claim, in the claim's turn: one that was
// given up has come to its end before the next begins, and undoes nothing. It is
// written on what was read, so neither does one that a broken connection still
// carried.
func (s *Session) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	if err := s.check(); err != nil {
		return err
	}
	p := s.place(c.ID)
	if p == nil || p.path == "" {
		return fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
	}
	_, err := inTurn(ctx, s, c.ID, func() (struct{}, error) { return struct{}{}, s.setNote(p.path, c, note) })
	if errors.Is(err, zk.ErrNoNode) {
		err = fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
	}
	return err
}

func (s *Session) setNote(path string, c *engine.Claim, note []byte) error {
	for {
		n, err := s.c.get(path)
		if err != nil {
			return explain(err)
		}
		ops := []any{&zk.SetDataRequest{Path: path, Data: bytesOf(note), Version: n.stat.Version}}
		if second := secondOf(path, c); second != "" {
			ops = append(ops, &zk.SetDataRequest{Path: second, Data: bytesOf(note), Version: -1})
		}
		_, _, err = s.c.multi(ops...)
		if !errors.Is(err, zk.ErrBadVersion) {
			return err
		}
	}
}

// bytesOf is never nil: some clients cannot read a node without data.
func bytesOf(b []byte) []byte { return append([]byte{}, b...) }

// Pass is not offered: ZooKeeper's numbers are the order.
func (s *Session) Pass(context.Context, *engine.Claim, engine.ClaimID) error {
	return fmt.Errorf("%w: ZooKeeper: the order of a line cannot be changed", engine.ErrUnsupported)
}
