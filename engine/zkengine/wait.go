package zkengine

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// waiter is one Acquire. Events wake it; it then looks at the line again.
type waiter struct {
	tap   *Tap
	woken chan struct{} // holds one

	mu    sync.Mutex
	paths map[string]bool // listened on, and no event of it yet
	next  *next           // nil: it asks when it is woken
}

func newWaiter(t *Tap) *waiter {
	return &waiter{tap: t, woken: make(chan struct{}, 1)}
}

func (w *waiter) wake() {
	select {
	case w.woken <- struct{}{}:
	default:
	}
}

func (w *waiter) event(ev zk.Event) {
	w.mu.Lock()
	if w.paths[ev.Path] {
		w.paths[ev.Path] = false
	}
	others := w.next.left(ev)
	w.mu.Unlock()
	if !others {
		w.wake()
	}
}

// listen says whether the path is watched by w already.
func (w *waiter) listen(path string) (already bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.paths == nil {
		w.paths = make(map[string]bool)
	}
	already, known := w.paths[path]
	w.paths[path] = true
	if !known {
		w.tap.listen(path, w)
	}
	return already
}

// leave ends all that w listens to but these.
func (w *waiter) leave(but ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
next:
	for path := range w.paths {
		for _, keep := range but {
			if path == keep {
				continue next
			}
		}
		w.tap.unlisten(path, w)
		delete(w.paths, path)
	}
}

// await looks at the line until the claim is granted.
func (s *Session) await(ctx context.Context, c *engine.Claim, p *place, fresh bool, w *waiter) (engine.Grant, error) {
	for {
		line, err := s.look(ctx, c, p, fresh)
		if err != nil {
			return engine.Grant{}, err
		}
		fresh = false
		me := position(line, p)
		if me < 0 {
			return engine.Grant{}, s.goneFrom(c, p)
		}
		if err := mismatch(line[:me], c); err != nil {
			return engine.Grant{}, s.withdraw(ctx, c, err)
		}
		if n := holders(line); me < n {
			return s.grant(ctx, c, p, len(line) == 1, n < len(line))
		}
		if c.Try {
			return engine.Grant{}, s.withdraw(ctx, c, &engine.HeldError{Line: engine.Line{Name: c.Name}})
		}
		ready, err := s.watchAhead(ctx, c, w, line, me)
		if err != nil {
			return engine.Grant{}, err
		}
		if !ready {
			continue
		}
		if err := s.ready(ctx, c, p); err != nil {
			return engine.Grant{}, err
		}
		if err := s.sleep(ctx, w); err != nil {
			return engine.Grant{}, err
		}
		if s.passed(p, w) {
			return s.grant(ctx, c, p, false, false)
		}
	}
}

// ready has a claim that is about to wait watched.
func (s *Session) ready(ctx context.Context, c *engine.Claim, p *place) error {
	if _, link := s.c.tap.now(); link != nil && s.armedOver(p) == link.n {
		return nil
	}
	_, err := call(ctx, s, func() (struct{}, error) { return struct{}{}, s.arm(p) })
	return s.orGone(c, p, err)
}

func (s *Session) sleep(ctx context.Context, w *waiter) error {
	select {
	case <-w.woken:
		return nil
	case <-s.z.over:
		return engine.ErrSessionEnded
	case <-s.ended:
		return engine.ErrSessionEnded
	case <-s.e.ctx.Done():
		return engine.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// goneFrom: the claim was in line and somebody has removed it.
func (s *Session) goneFrom(c *engine.Claim, p *place) error {
	s.forget(p)
	if err := s.check(); err != nil {
		return err
	}
	return fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
}

// look reads the line, and sees that the claim and the session live (S5). The next in
// line need not look (next.go).
//
// A claim that was made a moment ago has been seen by a quorum. One that was woken
// has waited. Who is ahead of it can only leave: if it is its turn at any moment that a
// server tells of, it has been since, and a server that lags behind the leader will do.
// What may have happened after that moment is what may happen to any holder, who
// believes in its claim for as long as its session is proven. Where it is not, `sync`
// brings this server to where the leader is, and had the claim or the session gone before
// that, the event of its going would have come before the answer, for the claim's own
// node is watched over this same connection. A watch that was set over another one may
// still be on its way there, and is set anew.
func (s *Session) look(ctx context.Context, c *engine.Claim, p *place, fresh bool) ([]claim, error) {
	_, link := s.c.tap.now()
	armed := link != nil && s.armedOver(p) == link.n
	var beside func() error
	sync := func() error { return s.c.sync(p.path) }
	switch {
	case fresh:
		if e := s.unwatched(p); e != nil {
			beside = func() error { return s.watchLine(e) }
		}
	case armed && s.proven():
	case armed:
		beside = sync
	default:
		if _, err := call(ctx, s, func() (struct{}, error) { return struct{}{}, sync() }); err != nil {
			return nil, err
		}
		beside = func() error { return s.arm(p) }
	}
	all, err := s.list(ctx, p.dir, beside)
	switch {
	case errors.Is(err, zk.ErrNoNode):
		return nil, s.goneFrom(c, p)
	case err != nil:
		return nil, err
	}
	if err := s.alive(p, link, armed && !fresh); err != nil {
		return nil, s.orGone(c, p, err)
	}
	return parseLine(all.names), nil
}

// list reads the line, beside another request.
func (s *Session) list(ctx context.Context, dir string, beside func() error) (children, error) {
	read := func() (children, error) { return s.c.children(dir) }
	if beside == nil {
		return call(ctx, s, read)
	}
	done := make(chan error, 1)
	go func() {
		_, err := call(ctx, s, func() (struct{}, error) { return struct{}{}, beside() })
		done <- err
	}()
	all, err := call(ctx, s, read)
	if other := <-done; err == nil {
		err = other
	}
	return all, err
}

// errMoved: the connection changed meanwhile; what it would have told may be late.
var errMoved = errors.New("zookeeper: the connection changed")

// alive is whether what was read is of a claim and a session that live. armed: the
// claim's watch was relied on, so the link must be the same one.
func (s *Session) alive(p *place, before *link, armed bool) error {
	if err := s.check(); err != nil {
		return err
	}
	if _, now := s.c.tap.now(); armed && now != before {
		return errMoved
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.gone {
		return zk.ErrNoNode
	}
	return nil
}

func (s *Session) orGone(c *engine.Claim, p *place, err error) error {
	if errors.Is(err, zk.ErrNoNode) {
		return s.goneFrom(c, p)
	}
	return err
}

func (s *Session) armedOver(p *place) uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.armed
}

// arm watches for the going of the claim's node, and sees whose it is. A node has no
// children as long as its session lives: the watch fires for nothing else.
func (s *Session) arm(p *place) error {
	_, link := s.c.tap.now()
	n, err := s.c.childrenW(p.path)
	if err != nil {
		return explain(err)
	}
	_, after := s.c.tap.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if n.stat.EphemeralOwner != s.z.id {
		return zk.ErrNoNode // another session's: it is not this claim
	}
	p.czxid, p.armed = n.stat.Czxid, 0
	if link != nil && link == after {
		p.armed = link.n
	}
	return nil
}

// position is where the place stands; -1: it does not, or not with all its nodes.
func position(line []claim, p *place) int {
	for i, cl := range line {
		if cl.name == base(p.path) {
			if cl.letter != 's' && cl.letter != 'g' && len(cl.nodes) < 2 {
				return -1
			}
			return i
		}
	}
	return -1
}

// grant reports the grant. Who is behind, in a line of shares, is told by a change of
// the claim's node: it waits for that, and stands first from now on.
func (s *Session) grant(ctx context.Context, c *engine.Claim, p *place, first, waited bool) (engine.Grant, error) {
	if waited && c.Kind == engine.Semaphore {
		_, err := call(ctx, s, func() (struct{}, error) { return struct{}{}, s.touch(p.path) })
		if err != nil {
			return engine.Grant{}, s.orGone(c, p, err)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case p.gone:
		return engine.Grant{}, fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
	case s.isEnded || s.z.ended():
		return engine.Grant{}, engine.ErrSessionEnded
	}
	p.granted, p.first = true, first
	s.armLater(p)
	return engine.Grant{Token: engine.Token(p.czxid)}, nil
}

// touch writes a node's data over itself.
func (s *Session) touch(path string) error {
	for {
		n, err := s.c.get(path)
		if err != nil {
			return explain(err)
		}
		_, err = s.c.zk.Set(path, bytesOf(n.data), n.stat.Version)
		if !errors.Is(err, zk.ErrBadVersion) {
			return explain(err)
		}
	}
}

// withdraw takes the claim out of the line for what is wrong with it.
func (s *Session) withdraw(ctx context.Context, c *engine.Claim, why error) error {
	if _, err := s.Release(ctx, c); err != nil {
		return err // the caller does not know of why: it will ask again, or release
	}
	return why
}

// watchAhead watches what the claim waits for. False: that has changed meanwhile, so
// look again.
//
//   - A reader waits for the last writer before it.
//   - A semaphore's first waiter waits for any of the holders, the others for the one
//     before them: that it goes, or is granted and says so (grant).
//   - All others wait for the one before them, the next in line for all of its nodes.
func (s *Session) watchAhead(ctx context.Context, c *engine.Claim, w *waiter, line []claim, me int) (bool, error) {
	dir := s.e.paths.of(c.Name) + "/"
	watch := s.c.watchGone
	var nodes []string
	alone := false // the claim ahead
	switch n := holders(line); {
	case c.Kind == engine.Semaphore && me == n:
		for _, holder := range line[:n] {
			nodes = append(nodes, holder.name)
		}
	case c.Kind == engine.Semaphore:
		watch = s.c.watchAny
		nodes = []string{line[me-1].name}
	case line[me].reads:
		i := me - 1
		for line[i].reads {
			i--
		}
		nodes = []string{last(line[i].nodes)}
	case me == 1:
		nodes, alone = line[0].nodes, true
	default:
		nodes = []string{last(line[me-1].nodes)}
	}
	var paths []string
	for _, node := range nodes {
		paths = append(paths, dir+node)
	}
	return s.watchAll(ctx, c, w, paths, watch, alone)
}

// watchAll watches these nodes; alone: they are of the only claim ahead.
func (s *Session) watchAll(
	ctx context.Context, c *engine.Claim, w *waiter, paths []string, watch func(string) (watched, error), alone bool,
) (ready bool, err error) {
	w.expectNothing()
	w.leave(paths...)
	_, link := s.c.tap.now()
	ready = true
	for _, path := range paths {
		if w.listen(path) {
			alone = false // over which link it is watched is not known
			continue
		}
		now, err := call(ctx, s, func() (watched, error) { return watch(path) })
		if err != nil && !errors.Is(err, zk.ErrNoNode) {
			return false, err
		}
		// What is watched for the first time may have changed before.
		if err != nil || c.Kind == engine.Semaphore {
			ready = false
		}
		alone = alone && now.anew && now.owner != s.z.id
	}
	if _, same := s.c.tap.now(); ready && alone && link != nil && same == link {
		w.expect(link, paths)
	}
	return ready, nil
}

func last(nodes []string) string { return nodes[len(nodes)-1] }
