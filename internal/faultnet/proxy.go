package faultnet

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// patience bounds what the proxy itself waits for: a connection to the target,
// the reply to a straggler.
const patience = 30 * time.Second

// Ports are taken below the range of local ports, and apart from those of
// package redistest: while a proxy refuses connections its port is free, and
// must still be when it heals.
const firstPort, ports = 31000, 1700

// Proxy stands in front of one server. Any goroutine may call its methods.
type Proxy struct {
	Addr string // host:port, for the client

	t       TB
	target  string
	network string
	proto   Protocol

	// gate is held for reading while bytes are passed on and for writing while
	// the network changes: so a change is in force when its method returns.
	gate sync.RWMutex
	net  conditions

	mu       sync.Mutex
	listener net.Listener // nil: connections are refused
	links    map[*link]struct{}
	rules    []*Rule
	closed   bool

	lost    atomic.Int64
	running sync.WaitGroup
}

// conditions is the state of the network, for all its connections.
type conditions struct {
	up, down         time.Duration // on the way to the server, and back
	loseUp, loseDown bool
}

// New is a network in perfect condition in front of target, which is host:port
// or the path of a unix socket.
func New(t TB, target string, proto Protocol) *Proxy {
	t.Helper()
	p := &Proxy{t: t, target: target, network: "tcp", proto: proto, links: map[*link]struct{}{}}
	if strings.HasPrefix(target, "/") {
		p.network = "unix"
	}
	var err error
	for range 50 {
		p.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(ports)))
		if err = p.listen(); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatalf("faultnet: %v", err)
	}
	t.Cleanup(p.close)
	return p
}

// Delay makes everything that is read from now on arrive so much later: on its
// way to the server, and on its way back. The order stays.
func (p *Proxy) Delay(up, down time.Duration) {
	p.change(func(c *conditions) { c.up, c.down = up, down })
}

// Blackhole swallows everything in both directions and keeps all connections
// open. New ones are accepted, as a half-open network may, and come to nothing.
// A peer that closes its end is not noticed by the other.
func (p *Proxy) Blackhole() {
	p.change(func(c *conditions) { c.loseUp, c.loseDown = true, true })
}

// DropReplies lets requests pass, and swallows everything that comes back.
func (p *Proxy) DropReplies() {
	p.change(func(c *conditions) { c.loseUp, c.loseDown = false, true })
}

// DropRequests swallows requests; what the server has to say still arrives.
func (p *Proxy) DropRequests() {
	p.change(func(c *conditions) { c.loseUp, c.loseDown = true, false })
}

// Cut resets all connections. New ones work.
func (p *Proxy) Cut() { p.cut(func(*link) bool { return true }) }

// Refuse refuses new connections; those that are open stay so.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
}

// Heal makes the network perfect again: it forgets all rules, lets go of what
// they held, resets the connections on which something was swallowed, and
// accepts new ones.
func (p *Proxy) Heal() {
	p.change(func(c *conditions) { *c = conditions{} })
	p.mu.Lock()
	rules := slices.Clone(p.rules)
	p.mu.Unlock()
	for _, r := range rules {
		r.Remove()
	}
	p.cut((*link).useless)
	if err := p.listen(); err != nil {
		p.t.Errorf("faultnet: Heal: %v", err)
	}
}

// Connections is how many are open at this moment.
func (p *Proxy) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Lost is how many requests, replies, messages and ends of streams have been
// swallowed so far. What is on its way to the proxy when it heals was not: a
// test that must lose something waits until it is.
func (p *Proxy) Lost() int { return int(p.lost.Load()) }

func (p *Proxy) isClosed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.closed
}

func (p *Proxy) change(f func(*conditions)) {
	p.gate.Lock()
	defer p.gate.Unlock()
	f(&p.net)
}

func (p *Proxy) conditions() conditions {
	p.gate.RLock()
	defer p.gate.RUnlock()
	return p.net
}

func (p *Proxy) cut(which func(*link) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if which(l) {
			l.end(true)
		}
	}
}

// listen accepts connections, unless it does already.
func (p *Proxy) listen() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.listener != nil {
		return nil
	}
	ln, err := net.Listen("tcp", p.Addr) //nolint:noctx // it does not block
	if err != nil {
		return err
	}
	p.listener = ln
	p.running.Go(func() { p.accept(ln) })
	return nil
}

func (p *Proxy) accept(ln net.Listener) {
	for {
		client, err := ln.Accept()
		if err != nil {
			return // closed by Refuse or at the end
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// serve is one connection's life.
func (p *Proxy) serve(client net.Conn) {
	l := newLink(p, client)
	if !p.enter(l) {
		l.end(true)
		return
	}
	defer p.leave(l)
	if p.conditions().loseUp {
		l.broken.Store(true) // the server never hears of it
	} else if server, err := p.dial(); err != nil {
		l.end(true)
	} else {
		l.attach(server)
	}
	l.run()
}

func (p *Proxy) dial() (net.Conn, error) {
	return net.DialTimeout(p.network, p.target, patience) //nolint:noctx // patience is the bound
}

func (p *Proxy) enter(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.links[l] = struct{}{}
	return true
}

func (p *Proxy) leave(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	close(l.left)
}

// settle waits for connections that have ended to hand over what was held on
// them.
func (p *Proxy) settle() {
	p.mu.Lock()
	var ended []*link
	for l := range p.links {
		select {
		case <-l.done:
			ended = append(ended, l)
		default:
		}
	}
	p.mu.Unlock()
	for _, l := range ended {
		<-l.left
	}
}

func (p *Proxy) close() {
	p.Refuse()
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.Cut()
	ended := make(chan struct{})
	go func() { p.running.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(2 * patience):
		p.t.Errorf("faultnet: %s has goroutines left", p)
	}
}

func (p *Proxy) String() string { return fmt.Sprintf("proxy %s to %s", p.Addr, p.target) }
