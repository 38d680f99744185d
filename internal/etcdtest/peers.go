package etcdtest

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/lockstep-go/lockstep/internal/childproc"
)

// Peers is the network between the members of a cluster. Each member is known to the
// others by an address of its own there. A connection belongs to two members: the one
// it was made to, and the one whose id its first request carries.
type Peers struct {
	t TB

	mu       sync.Mutex
	isolated map[int]bool
	ids      map[string]int // of members, by their ids in hexadecimal
	links    map[*peerLink]struct{}
	proxies  []net.Listener
	closed   bool
	running  sync.WaitGroup
}

type peerLink struct {
	to, from int // -1: not known
	conns    [2]net.Conn
}

func newPeers(t TB) *Peers {
	p := &Peers{t: t, isolated: map[int]bool{}, ids: map[string]int{}, links: map[*peerLink]struct{}{}}
	t.Cleanup(p.close)
	return p
}

// add makes an address that leads to a member.
func (p *Peers) add(to int, peer string) (string, error) {
	ln, err := net.Listen("tcp", childproc.Addr(childproc.FreePorts(1)[0])) //nolint:noctx // it does not block
	if err != nil {
		return "", err
	}
	p.proxies = append(p.proxies, ln)
	p.running.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p.running.Go(func() { p.serve(to, peer, conn) })
		}
	})
	return ln.Addr().String(), nil
}

// serve passes one connection on once it is known whose it is.
func (p *Peers) serve(to int, peer string, conn net.Conn) {
	l := &peerLink{to: to, from: -1, conns: [2]net.Conn{conn, nil}}
	defer p.leave(l)
	if !p.enter(l) {
		return
	}
	seen := &recorded{r: conn}
	req, err := http.ReadRequest(bufio.NewReaderSize(seen, 16))
	if err != nil {
		return
	}
	target, err := net.Dial("tcp", peer) //nolint:noctx // loopback answers at once
	if err != nil {
		return
	}
	if !p.identify(l, target, req.Header.Get("X-Server-From")) {
		return
	}
	if _, err := target.Write(seen.data); err != nil {
		return
	}
	p.running.Go(func() {
		_, _ = io.Copy(conn, target)
		l.cut()
	})
	_, _ = io.Copy(target, conn)
}

// recorded remembers what was read.
type recorded struct {
	r    io.Reader
	data []byte
}

func (r *recorded) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.data = append(r.data, b[:n]...)
	return n, err
}

func (p *Peers) enter(l *peerLink) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.isolated[l.to] {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Peers) identify(l *peerLink, target net.Conn, id string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	l.conns[1] = target
	if from, known := p.ids[id]; known {
		l.from = from
	}
	return !p.closed && !p.isolated[l.to] && !p.isolated[l.from]
}

func (p *Peers) leave(l *peerLink) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	l.cut()
}

func (l *peerLink) cut() {
	for _, c := range l.conns {
		if c != nil {
			c.Close()
		}
	}
}

// know says which member has an id.
func (p *Peers) know(id string, member int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ids[id] = member
	for l := range p.links {
		if l.from < 0 {
			l.cut() // made before: it comes again and is known then
		}
	}
}

// Isolate cuts a member off from all others. Clients reach it.
func (p *Peers) Isolate(member int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.isolated[member] = true
	for l := range p.links {
		if l.to == member || l.from == member {
			l.cut()
		}
	}
}

// Heal lets all members reach each other.
func (p *Peers) Heal() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.isolated)
}

func (p *Peers) close() {
	p.mu.Lock()
	p.closed = true
	for _, ln := range p.proxies {
		ln.Close()
	}
	for l := range p.links {
		l.cut()
	}
	p.mu.Unlock()
	p.running.Wait()
}
