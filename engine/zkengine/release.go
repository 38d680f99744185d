package zkengine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// Release ends the claim by its id, in one transaction where its nodes are known.
func (s *Session) Release(ctx context.Context, c *engine.Claim) (removed bool, err error) {
	if err := s.check(); err != nil {
		return false, err
	}
	return inTurn(ctx, s, c.ID, func() (bool, error) { return s.end(c) })
}

// end has the claim's turn.
func (s *Session) end(c *engine.Claim) (bool, error) {
	s.mu.Lock()
	p := s.places[c.ID]
	sure := p != nil && p.path != "" && !p.doubt && !p.gone
	if p != nil {
		p.leaving = true
		delete(s.unarmed, p)
	}
	s.mu.Unlock()
	if sure {
		switch ended, err := s.endNodes(c, p); {
		case err != nil:
			s.doubt(c)
			return false, err
		case ended:
			s.forget(p)
			s.leave(p, nextOf(p.path, c))
			s.c.tidy(p.path)
			return true, nil
		}
	}
	removed, err := s.c.removeByID(s.e.paths.of(c.Name), c.ID)
	if err != nil {
		s.doubt(c)
		return false, err
	}
	if p != nil {
		s.forget(p)
	}
	return removed, nil
}

// endNodes deletes the nodes as they were made; false: they are not all there. Whoever
// is next is told that the claim held, where it may know of others ahead (next.go).
func (s *Session) endNodes(c *engine.Claim, p *place) (bool, error) {
	ops := []any{&zk.DeleteRequest{Path: p.path, Version: -1}}
	if second := secondOf(p.path, c); second != "" {
		if s.tellsNext(c, p) {
			ops = append(ops, &zk.SetDataRequest{Path: second, Data: []byte{}, Version: -1})
		}
		ops = append(ops, &zk.DeleteRequest{Path: second, Version: -1})
	}
	_, _, err := s.c.multi(ops...)
	if errors.Is(err, zk.ErrNoNode) {
		return false, nil
	}
	return err == nil, err
}

// tellsNext: a claim that found itself alone in its line has nobody behind it who knows
// of another ahead.
func (s *Session) tellsNext(c *engine.Claim, p *place) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return p.granted && !p.first && letters[letterOf(c)].fam == exclusive
}

// secondOf is the second node of a pair: its number is the next one. "": the claim
// has one node.
func secondOf(path string, c *engine.Claim) string {
	names := nodesOf(c)
	if len(names) < 2 {
		return ""
	}
	first, ok := parseNode(base(path))
	if !ok {
		return ""
	}
	return fmt.Sprintf("%s/%s%010d", parent(path), names[1], first.number+1)
}

// nextOf is the number after those of a claim's nodes; 0: it is not known.
func nextOf(path string, c *engine.Claim) int32 {
	first, ok := parseNode(base(path))
	if !ok {
		return 0
	}
	return first.number + int32(len(nodesOf(c)))
}

// removeByID deletes every node of the claim that there is now.
func (c *conn) removeByID(dir string, id engine.ClaimID) (removed bool, err error) {
	if err := c.latest(); err != nil {
		return false, err
	}
	all, err := c.children(dir)
	if errors.Is(err, zk.ErrNoNode) {
		return false, nil
	}
	if err != nil {
		return false, explain(err)
	}
	for _, cl := range parseLine(all.names) {
		if cl.place().ID != id {
			continue
		}
		if err := c.removeNodes(dir, cl.nodes); err != nil {
			return removed, err
		}
		removed = true
	}
	return removed, nil
}

// removeNodes deletes nodes of one claim together; where one of them has gone, the
// transaction is refused, and the others are deleted singly.
func (c *conn) removeNodes(dir string, names []string) error {
	var ops []any
	for _, name := range names {
		ops = append(ops, &zk.DeleteRequest{Path: dir + "/" + name, Version: -1})
	}
	_, _, err := c.multi(ops...)
	if !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	for _, name := range names {
		if err := absent(c.delete(dir + "/" + name)); err != nil {
			return err
		}
	}
	return nil
}

// aging is the number above which an empty parent is removed, so that numbers begin
// anew: Curator and kazoo sort negative ones wrongly.
const aging = 1 << 30

// tidy removes the parent of a claim that has ended where its numbers are high. It
// is refused while others are in line, and nobody minds.
func (c *conn) tidy(path string) {
	if n, ok := parseNode(base(path)); ok && (n.number > aging || n.number < 0) {
		_ = c.delete(parent(path))
	}
}

// Remove ends the claim whoever made it. Another program's id is its node's name.
func (e *Engine) Remove(ctx context.Context, name string, id engine.ClaimID) error {
	if strings.Contains(string(id), "/") {
		return nil // no claim has such an id
	}
	_, err := ask(ctx, e, func() (bool, error) { return e.conn.removeByID(e.paths.of(name), id) })
	return err
}
