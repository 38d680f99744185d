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
	more := w.next.told(ev)
	w.mu.Unlock()
	if !more {
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
func (s *Session) await(ctx context.Context, c *engine.Claim, in entered, w *waiter) (engine.Grant, error) {
	p, line, fresh := in.p, in.line, in.fresh
	for {
		if line == nil {
			var err error
			if line, err = s.look(ctx, c, p, fresh); err != nil {
				return engine.Grant{}, err
			}
		}
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
		ready, err := s.watchAhead(ctx, p, w, aheadOf(c, line, me))
		if err != nil {
			return engine.Grant{}, s.orGone(c, p, err)
		}
		if line, fresh = nil, false; !ready {
			continue
		}
		if err := s.sleep(ctx, w); err != nil {
			return engine.Grant{}, err
		}
		if s.passed(p, w) {
			return s.grant(ctx, c, p, false, false)
		}
	}
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
// believes in its claim for as long as its session is proven. Where it is not, a
// transaction that a quorum agrees to brings this server to where that is, and had the
// claim or the session gone before, the event of its going would have come before the
// answer, for the claim's own node is watched over this same connection. A watch that was
// set over another one may still be on its way there, and is set anew.
func (s *Session) look(ctx context.Context, c *engine.Claim, p *place, fresh bool) ([]claim, error) {
	_, link := s.c.tap.now()
	armed := link != nil && s.armedOver(p) == link.n
	var beside func() error
	sync := s.c.latest
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

// ahead is what a claim waits for.
type ahead struct {
	nodes   []string // whose going is awaited
	written string   // "": none. Beside them, the node of which any change is
	only    bool     // they are all of the only claim ahead
	again   bool     // what changed before they were watched matters: look again
}

// aheadOf says what the claim waits for.
//
//   - A reader waits for the last writer before it.
//   - A semaphore's first waiter waits for any of the holders, the others for the one
//     before them: that it goes, or is granted and says so (grant).
//   - All others wait for the one before them: for all of its nodes where these tell that
//     the claim's turn has come, else for the last.
func aheadOf(c *engine.Claim, line []claim, me int) ahead {
	switch n := holders(line); {
	case c.Kind == engine.Semaphore && me == n:
		var nodes []string
		for _, holder := range line[:n] {
			nodes = append(nodes, holder.name)
		}
		return ahead{nodes: nodes, again: true}
	case c.Kind == engine.Semaphore:
		return ahead{written: line[me-1].name, again: true}
	case line[me].reads:
		i := me - 1
		for line[i].reads {
			i--
		}
		return ahead{nodes: []string{last(line[i].nodes)}}
	case me == 1:
		return ahead{nodes: line[0].nodes, only: true}
	case line[me-1].tells():
		return ahead{nodes: line[me-1].nodes[:1], written: line[me-1].nodes[1]}
	}
	return ahead{nodes: []string{last(line[me-1].nodes)}}
}

// tells says whether the claim tells the one behind it that it held (endNodes).
func (c claim) tells() bool { return c.id != "" && c.fam == exclusive && len(c.nodes) == 2 }

// in is these nodes as paths below a line's node, and the one that is written.
func (a ahead) in(dir string) (paths []string, written string) {
	for _, node := range a.nodes {
		paths = append(paths, dir+"/"+node)
	}
	if a.written != "" {
		written = dir + "/" + a.written
		paths = append(paths, written)
	}
	return paths, written
}

// watchAhead watches what the claim waits for, and the claim. False: something has changed
// meanwhile, so look again.
func (s *Session) watchAhead(ctx context.Context, p *place, w *waiter, a ahead) (ready bool, err error) {
	paths, written := a.in(p.dir)
	w.expectNothing()
	w.leave(paths...)
	_, link := s.c.tap.now()
	var watches []func() (watched, error)
	for _, path := range paths {
		watch := s.c.watchGone
		if path == written {
			watch = s.c.watchAny
		}
		if !w.listen(path) {
			watches = append(watches, func() (watched, error) { return watch(path) })
		}
	}
	found, err := s.watchBoth(ctx, p, link, watches)
	if err != nil {
		return false, err
	}
	for _, n := range found {
		if n == nil || a.again {
			return false, nil
		}
	}
	_, now := s.c.tap.now()
	if link != nil && link == now && len(found) == len(paths) && s.tells(a, found) {
		w.expect(&next{link: link, written: written}, paths)
	}
	return true, nil
}

// tells says whether what happens to these nodes tells that the claim's turn has come.
// What was watched before may be over another link.
func (s *Session) tells(a ahead, found []*watched) bool {
	for _, n := range found {
		if !n.anew || a.only && n.owner == s.z.id {
			return false
		}
	}
	return a.only || a.written != ""
}

// watchBoth sets these watches, and that of the claim itself where it is not watched over
// the link, all at once. nil: a node that was to be watched has gone.
func (s *Session) watchBoth(ctx context.Context, p *place, link *link, watches []func() (watched, error)) ([]*watched, error) {
	n := len(watches)
	if link == nil || s.armedOver(p) != link.n {
		n++
	}
	if n == 0 {
		return nil, nil
	}
	return call(ctx, s, func() ([]*watched, error) {
		found := make([]*watched, len(watches))
		return found, eachParallel(n, func(i int) error {
			if i == len(watches) {
				return s.arm(p)
			}
			now, err := watches[i]()
			if err == nil {
				found[i] = &now
			}
			return absent(err)
		})
	})
}

func last(nodes []string) string { return nodes[len(nodes)-1] }
