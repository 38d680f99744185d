package zkengine

import "github.com/go-zookeeper/zk"

// A line that a session left empty is known to be empty still when the number of its
// next claim there follows on that of its last one: ZooKeeper counts every child that
// is made below a node, whoever makes it, in the transaction that makes it. So nobody
// is ahead, and the line is not listed: a name that one program takes again and again
// costs one transaction each way.
//
// That holds as long as the node is the same one, for another of that name counts from
// 0. Its going is watched for: ZooKeeper would have told of it before it answered the
// claim's transaction, over the same connection.

// maxEmptied bounds how many lines a session remembers, and so what it watches.
const maxEmptied = 1024

// emptied is a line as its session left it. Without a watch it only says that the name
// is used again and again.
type emptied struct {
	s    *Session
	dir  string
	link uint32 // the link over which the node's going is watched; 0: it is not
	born int64  // czxid of the node that is watched
	next int32  // whoever has a lower number has left; 0: not known
}

// event is told of the line's node. Changes of its children are not what is watched.
func (e *emptied) event(ev zk.Event) {
	if ev.Type == zk.EventNodeChildrenChanged {
		return
	}
	e.s.mu.Lock()
	if e.s.emptied[e.dir] == e {
		delete(e.s.emptied, e.dir)
	}
	e.link = 0
	e.s.mu.Unlock()
	e.s.c.tap.unlisten(e.dir, e)
}

// listsAtOnce says whether a claim that is about to be made will have its line listed, and
// nothing asked beside that (look): the session does not know the line to be empty, and is
// not about to watch its node.
func (s *Session) listsAtOnce(dir string, link *link) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.emptied[dir]
	return e == nil || link != nil && e.link == link.n && e.next == 0
}

// follows says whether nobody can be ahead of a claim that was made over the link.
func (s *Session) follows(p *place, link *link) bool {
	_, now := s.c.tap.now()
	n, ok := parseNode(base(p.path))
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.emptied[p.dir]
	return ok && e != nil && e.next > 0 && e.next == n.number && link != nil && link == now && e.link == link.n
}

// outrun notes that a claim of the session does not follow: no later one will.
func (s *Session) outrun(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.emptied[p.dir]; e != nil {
		e.next = 0
	}
}

// leave notes that a claim that nobody was ahead of has left: nobody with a number
// below next is in line. The claim was made below the node that is watched if that is
// the older one, as it has been there since.
func (s *Session) leave(p *place, next int32) {
	_, link := s.c.tap.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.emptied[p.dir]
	switch {
	case !p.first || next <= 0 || next > aging: // above that the parent is removed, and the count wraps
	case e != nil && link != nil && e.link == link.n && p.czxid > e.born:
		e.next = next
	case e == nil && s.roomForEmptied():
		s.emptied[p.dir] = &emptied{s: s, dir: p.dir}
	}
}

// roomForEmptied drops a line that is not watched where there are too many. mu is held.
func (s *Session) roomForEmptied() bool {
	if len(s.emptied) < maxEmptied {
		return true
	}
	for dir, e := range s.emptied {
		if e.link == 0 {
			s.c.tap.unlisten(dir, e)
			delete(s.emptied, dir)
			return true
		}
	}
	return false
}

// unwatched is the line of a claim where it is used again and its node is not watched
// yet over this connection.
func (s *Session) unwatched(p *place) *emptied {
	_, link := s.c.tap.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.emptied[p.dir]; e != nil && link != nil && e.link != link.n {
		return e
	}
	return nil
}

// watchLine watches for the going of the node that a line is below. What was known of
// the line may be of another node.
func (s *Session) watchLine(e *emptied) error {
	_, link := s.c.tap.now()
	s.mu.Lock()
	e.link, e.next = 0, 0
	s.mu.Unlock()
	s.c.tap.listen(e.dir, e)
	stat, err := s.c.existsW(e.dir)
	_, after := s.c.tap.now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && stat != nil && link != nil && link == after && s.emptied[e.dir] == e {
		e.link, e.born = link.n, stat.Czxid
	}
	return err
}
