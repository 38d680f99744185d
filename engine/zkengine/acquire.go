package zkengine

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// Acquire enters the line by one transaction, and then looks at the line: held when
// it stands among the first whose shares fit. Otherwise it watches what is in its
// way (wait.go) and looks again when that has gone.
func (s *Session) Acquire(ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
	if err := checkClaim(c); err != nil {
		return engine.Grant{}, err
	}
	if err := s.check(); err != nil {
		return engine.Grant{}, err
	}
	w := newWaiter(s.c.tap)
	defer w.leave()
	in, err := inTurn(ctx, s, c.ID, func() (entered, error) { return s.enter(c, again, w) })
	if err != nil {
		return engine.Grant{}, err
	}
	defer s.unwait(in.p, w)
	if in.first {
		return s.grant(ctx, c, in.p, true, false)
	}
	return s.await(ctx, c, in, w)
}

// entered is a claim in its line. fresh: the transaction that put it there has just
// been answered. first: and nobody is ahead of it. line: and how it stands there, where
// that has been read.
type entered struct {
	p     *place
	fresh bool
	first bool
	line  []claim
}

// enter finds the claim in the line, where it is or may be there, or puts it there.
// It has the claim's turn.
func (s *Session) enter(c *engine.Claim, again bool, w *waiter) (entered, error) {
	p := s.place(c.ID)
	stands, err := s.stands(p, again)
	if err != nil {
		return entered{}, err
	}
	if stands && s.wait(p, w) {
		return entered{p: p}, nil
	}
	if again || p != nil {
		found, err := s.find(c)
		if err != nil {
			return entered{}, err
		}
		if found != nil && s.wait(found, w) {
			return entered{p: found}, nil
		}
	}
	if c.Try {
		if err := s.mayEnter(c); err != nil {
			return entered{}, err
		}
	}
	return s.join(c, w)
}

// join puts the claim in the line. Where that is to be listed (look), it is at once:
// ZooKeeper carries out the requests of a connection in their order, and answers both
// together. A list that was sent first after all does not show the claim, and is not used.
func (s *Session) join(c *engine.Claim, w *waiter) (entered, error) {
	_, link := s.c.tap.now()
	dir := s.e.paths.of(c.Name)
	list := make(chan []string, 1)
	if s.listsAtOnce(dir, link) {
		go func() {
			all, _ := s.c.children(dir) // what failed is asked again
			list <- all.names
		}()
	} else {
		close(list)
	}
	p, err := s.create(c)
	names := <-list
	if err != nil {
		return entered{}, err
	}
	s.wait(p, w)
	first := s.follows(p, link)
	if !first {
		s.outrun(p)
	}
	return entered{p, true, first, lineWith(p, names)}, nil
}

// lineWith is the line that these children are; nil: it does not show the claim.
func lineWith(p *place, names []string) []claim {
	line := parseLine(names)
	if position(line, p) < 0 {
		return nil
	}
	return line
}

// stands is whether what is known of a place is enough to go on from. again: somebody
// else may have removed the claim, and the event of that be on its way.
func (s *Session) stands(p *place, again bool) (bool, error) {
	if p == nil || p.path == "" || p.doubt {
		return false, nil
	}
	if !again {
		return true, nil
	}
	_, link := s.c.tap.now()
	if link == nil || s.armedOver(p) != link.n {
		return false, nil
	}
	err := s.c.latest()
	_, after := s.c.tap.now()
	return after == link, err
}

// wait has w be told of what happens to the place; false: it is gone.
func (s *Session) wait(p *place, w *waiter) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.gone {
		return false
	}
	// A new slice: events walk over the old one.
	p.waiters = append(slices.Clip(p.waiters), w)
	return true
}

func (s *Session) unwait(p *place, w *waiter) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.waiters = slices.DeleteFunc(slices.Clone(p.waiters), func(other *waiter) bool { return other == w })
	if len(p.waiters) == 0 {
		p.waiters = nil
	}
}

// create makes the claim's nodes. The transaction also writes the session's marker: it
// has to be there, and what it is after that tells the transaction's zxid, which is the
// nodes' czxid.
func (s *Session) create(c *engine.Claim) (*place, error) {
	dir := s.e.paths.of(c.Name)
	ops := []any{&zk.SetDataRequest{Path: s.marker, Data: []byte{}, Version: -1}}
	for _, name := range nodesOf(c) {
		ops = append(ops, &zk.CreateRequest{
			Path: dir + "/" + name, Data: bytesOf(c.Note), Acl: s.c.acl, Flags: zk.FlagEphemeralSequential,
		})
	}
	for {
		results, failed, err := s.c.multi(ops...)
		switch {
		case err == nil:
			return s.stand(c, results[1].String, results[0].Stat.Mzxid), nil
		case failed == 0 && errors.Is(err, zk.ErrNoNode):
			return nil, engine.ErrSessionEnded
		case errors.Is(err, zk.ErrNoChildrenForEphemerals):
			return nil, inTheWay(c, "a node that ends with a session is there; it can have no line below it")
		case errors.Is(err, zk.ErrNoNode):
			if err := s.c.ensure(dir, !s.e.opts.persistent); err != nil {
				return nil, err
			}
		case failed < 0:
			s.doubt(c)
			return nil, err
		default:
			return nil, err
		}
	}
}

func inTheWay(c *engine.Claim, what string) error {
	return &engine.MismatchError{Name: c.Name, WantKind: c.Kind, WantLimit: c.Limit, Detail: what}
}

// stand notes where a claim stands, and listens for its going. czxid 0: arm learns it.
func (s *Session) stand(c *engine.Claim, path string, czxid int64) *place {
	p := &place{s: s, id: c.ID, dir: parent(path), path: path, czxid: czxid}
	s.mu.Lock()
	old := s.places[c.ID]
	s.places[c.ID] = p
	s.mu.Unlock()
	if old != nil {
		s.c.tap.unlisten(old.path, old)
	}
	s.c.tap.listen(path, p)
	return p
}

// doubt notes that nodes of the claim may have been made, or ended.
func (s *Session) doubt(c *engine.Claim) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.places[c.ID]
	if p == nil {
		p = &place{s: s, id: c.ID, dir: s.e.paths.of(c.Name)}
		s.places[c.ID] = p
	}
	p.doubt = true
}

// find looks for the claim by its id. Nodes that are of it and not of this session
// were left by one that is ending: they are removed, and never taken for ours. Of
// two that are ours, by a request that was carried out late, the first counts.
func (s *Session) find(c *engine.Claim) (*place, error) {
	dir := s.e.paths.of(c.Name)
	if err := s.c.latest(); err != nil {
		return nil, err
	}
	all, err := s.c.children(dir)
	if errors.Is(err, zk.ErrNoNode) {
		all, err = children{}, nil
	}
	if err != nil {
		return nil, explain(err)
	}
	var found *place
	for _, cl := range parseLine(all.names) {
		if cl.id != c.ID {
			continue
		}
		mine, err := s.isMine(c, dir, cl)
		if err != nil {
			return nil, err
		}
		if mine && found == nil {
			found = s.stand(c, dir+"/"+cl.name, 0)
			continue
		}
		if err := s.c.removeNodes(dir, cl.nodes); err != nil {
			return nil, err
		}
	}
	if found == nil {
		if p := s.place(c.ID); p != nil {
			s.forget(p)
		}
	}
	return found, nil
}

// isMine says whether a claim with this id is whole, and this session's.
func (s *Session) isMine(c *engine.Claim, dir string, cl claim) (bool, error) {
	if len(cl.nodes) != len(nodesOf(c)) {
		return false, nil
	}
	stat, err := s.c.exists(dir + "/" + cl.name)
	if err != nil {
		return false, explain(err)
	}
	return stat != nil && stat.EphemeralOwner == s.z.id, nil
}

// mayEnter refuses a claim that would not be granted at once, before it is made: an
// attempt disturbs nobody in the line.
func (s *Session) mayEnter(c *engine.Claim) error {
	dir := s.e.paths.of(c.Name)
	if err := s.c.latest(); err != nil {
		return err
	}
	all, err := s.c.children(dir)
	if errors.Is(err, zk.ErrNoNode) {
		return nil
	}
	if err != nil {
		return explain(err)
	}
	line := parseLine(all.names)
	if err := mismatch(line, c); err != nil {
		return err
	}
	me := claim{contender: contender{id: c.ID, letter: letterOf(c), shares: c.Shares, limit: c.Limit, reads: letterOf(c) == 'r'}}
	me.fam = letters[me.letter].fam
	if holders(append(line, me)) <= len(line) {
		return s.held(c, line)
	}
	return nil
}

// mismatch is the error of a claim behind others that it cannot stand in line with:
// the first of Lockstep's own rules, and what others' layouts tell.
func mismatch(ahead []claim, c *engine.Claim) error {
	mine := letters[letterOf(c)].fam
	for _, other := range ahead {
		switch kind := other.kind(); {
		case other.newer:
			return fmt.Errorf("%w: a newer Lockstep uses %q: upgrade this program", engine.ErrUnusable, c.Name)
		case kind == 0 && other.fam&mine == 0:
			return inTheWay(c, fmt.Sprintf("another program's lock of another kind is there (%s)", other.name))
		case kind == 0:
		case kind != c.Kind || other.limit != c.Limit:
			return &engine.MismatchError{Name: c.Name, Kind: kind, Limit: other.limit, WantKind: c.Kind, WantLimit: c.Limit}
		default:
			return nil
		}
	}
	return nil
}

// held says by whom. What the holders say of themselves is read; who waits is not.
func (s *Session) held(c *engine.Claim, line []claim) error {
	n := holders(line)
	l := engine.Line{Name: c.Name}
	l.Kind, l.Limit = kindOf(line)
	for _, cl := range line[:min(n, maxShown)] {
		n, err := s.c.get(s.e.paths.of(c.Name) + "/" + cl.name)
		if err == nil {
			l.Holders = append(l.Holders, cl.seen(n, true))
		}
	}
	return &engine.HeldError{Line: l}
}

// maxShown bounds what a failed attempt reads.
const maxShown = 8

// kindOf is what the first of Lockstep's own says that a line is.
func kindOf(line []claim) (engine.Kind, int) {
	for _, cl := range line {
		if k := cl.kind(); k != 0 {
			return k, cl.limit
		}
	}
	return 0, 0
}

// seen is the claim as others see it.
func (c claim) seen(n node, holds bool) engine.Place {
	p := c.place()
	p.Note = n.data
	if holds {
		p.Token = engine.Token(n.stat.Czxid)
	}
	return p
}
