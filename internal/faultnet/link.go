package faultnet

import (
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// link is one connection of a client and its counterpart to the server. Four
// goroutines serve it: in each direction one reads and cuts what it reads into
// requests or replies, and one passes them on when they are due.
type link struct {
	p      *Proxy
	client net.Conn
	server net.Conn // nil: the server never heard of this connection

	broken atomic.Bool // something was swallowed: it cannot work again

	once sync.Once
	done chan struct{} // both ends are closed
	left chan struct{} // and nothing of it runs any more

	up, down *line

	mu     sync.Mutex
	setup  [][]byte  // requests that a connection of its own must repeat first
	expect []*parcel // requests that the server has and has not answered
	silent bool      // one had no reply: see Protocol
	muted  bool      // a rule swallowed a reply: nothing may follow it
}

// parcel is one request, reply or message, or the end of a stream.
type parcel struct {
	link *link
	data []byte
	due  time.Time
	last bool // the peer closed its end; data is half a parcel at most

	holds  []*Rule // a request: kept back until they let go
	replay bool    // a request: passed once more when its reply comes
	mute   *Rule   // a request: its reply and everything after it is swallowed
	reset  bool    // a request: its reply resets the connection

	lose bool // a reply or a message: swallowed, and everything after it
	skip bool // a message: swallowed, and nothing else is disturbed
}

func newLink(p *Proxy, client net.Conn) *link {
	return &link{
		p: p, client: client, up: newLine(), down: newLine(),
		done: make(chan struct{}), left: make(chan struct{}),
	}
}

func (l *link) attach(server net.Conn) {
	l.mu.Lock()
	l.server = server
	l.mu.Unlock()
	select {
	case <-l.done: // it was cut meanwhile
		server.Close()
	default:
	}
}

// end closes both ends, by a reset if they are to notice that it was no orderly
// end.
func (l *link) end(reset bool) {
	l.once.Do(func() {
		close(l.done)
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, c := range []net.Conn{l.client, l.server} {
			if c == nil {
				continue
			}
			if tcp, ok := c.(*net.TCPConn); ok && reset {
				_ = tcp.SetLinger(0)
			}
			c.Close()
		}
	})
}

func (l *link) run() {
	var all sync.WaitGroup
	all.Go(func() { l.read(l.client, l.up, l.p.proto.request, l.receiveRequest) })
	all.Go(l.passUp)
	if l.server != nil {
		all.Go(func() { l.read(l.server, l.down, l.p.proto.reply, l.receiveReply) })
		all.Go(l.passDown)
	}
	all.Wait()
}

// read cuts a stream into parcels and puts them in line.
func (l *link) read(from net.Conn, to *line, whole func([]byte) int, receive func(*parcel)) {
	defer to.close()
	var pending []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		pending = append(pending, buf[:n]...)
		for {
			size := whole(pending)
			if size <= 0 {
				break
			}
			p := &parcel{link: l, data: append([]byte(nil), pending[:size]...)}
			pending = pending[size:]
			receive(p)
			if p.skip {
				l.p.lost.Add(1)
				continue
			}
			to.put(p)
		}
		if err != nil {
			p := &parcel{link: l, data: pending, last: true}
			receive(p)
			to.put(p)
			return
		}
	}
}

func (l *link) receiveRequest(p *parcel) {
	p.due = time.Now().Add(l.p.conditions().up)
	if p.last {
		return
	}
	if l.p.proto.setup(p.data) {
		l.mu.Lock()
		l.setup = append(l.setup, p.data)
		l.mu.Unlock()
	}
	l.p.apply(p, false)
}

// receiveReply finds the request that it answers and does what its rules say.
func (l *link) receiveReply(p *parcel) {
	defer func() { p.due = time.Now().Add(l.p.conditions().down) }()
	if p.last || l.isMessage(p.data) {
		if p.lose = l.mutes(nil); !p.last && !p.lose {
			l.p.apply(p, true)
		}
		return
	}
	request := l.answered()
	if request == nil {
		return // a protocol that nobody understands
	}
	if request.replay {
		l.p.arrive(straggler{l.preamble(), [][]byte{request.data}})
	}
	if request.reset {
		l.end(true)
	}
	p.lose = l.mutes(request)
}

func (l *link) isMessage(data []byte) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.p.proto.message(data, l.silent)
}

// answered is the request that waits longest for its reply.
func (l *link) answered() *parcel {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.expect) == 0 {
		return nil
	}
	first := l.expect[0]
	l.expect = l.expect[1:]
	return first
}

// mutes reports whether the reply to a request is to be swallowed, or what
// answers none and comes before the next reply.
func (l *link) mutes(request *parcel) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if request == nil && len(l.expect) > 0 {
		request = l.expect[0]
	}
	if request != nil && request.mute != nil && !request.mute.isReleased() {
		l.muted = true
	}
	return l.muted
}

// useless: something was swallowed, or is about to be.
func (l *link) useless() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.muted || l.broken.Load()
}

func (l *link) preamble() [][]byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clip(l.setup)
}

// passUp passes requests on. What is held when the connection ends becomes a
// straggler, together with everything behind it.
func (l *link) passUp() {
	for p := l.up.first(l.done); p != nil; p = l.up.first(l.done) {
		if !l.wait(p) || !l.pass(l.server, p, func(c conditions) bool { return c.loseUp || l.server == nil }, l.sent) {
			break
		}
		l.up.drop()
	}
	l.end(true) // nothing to end where all was orderly
	l.p.strand(l.up.drain())
}

func (l *link) passDown() {
	for p := l.down.first(l.done); p != nil; p = l.down.first(l.done) {
		if !l.wait(p) || !l.pass(l.client, p, func(c conditions) bool { return c.loseDown || p.lose }, nil) {
			break
		}
		l.down.drop()
	}
}

// wait waits until a parcel is due and nothing holds it; false: the connection
// ended first.
func (l *link) wait(p *parcel) bool {
	if d := time.Until(p.due); d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-l.done:
			return false
		}
	}
	for _, r := range p.holds {
		select {
		case <-r.released:
		case <-l.up.closed: // the client is gone: what is held comes later, alone
			if !r.isReleased() {
				return false
			}
		case <-l.done:
			return false
		}
	}
	return true
}

// slice is how long one write may block before the network is looked at again.
const slice = 10 * time.Millisecond

// pass writes a parcel, or swallows it if the network is such at this moment;
// false: the connection has ended. before is called when the first byte passes.
func (l *link) pass(to net.Conn, p *parcel, lost func(conditions) bool, before func(*parcel)) bool {
	data, begun := p.data, false
	for {
		l.p.gate.RLock()
		if lost(l.p.net) {
			l.broken.Store(true)
			l.p.lost.Add(1)
			l.p.gate.RUnlock()
			if p.last {
				<-l.done // half-open: the other end does not hear of it
				return false
			}
			return true
		}
		if !begun && before != nil {
			before(p)
		}
		begun = true
		n, err := write(to, data)
		l.p.gate.RUnlock()
		data = data[n:]
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			l.end(true)
			return false
		case p.last:
			l.end(false)
			return false
		case len(data) == 0:
			return true
		}
	}
}

func write(to net.Conn, data []byte) (int, error) {
	if len(data) == 0 {
		return 0, nil
	}
	if err := to.SetWriteDeadline(time.Now().Add(slice)); err != nil {
		return 0, err
	}
	n, err := to.Write(data)
	if err == nil && n < len(data) {
		err = io.ErrShortWrite
	}
	return n, err
}

// sent notes a request that is about to reach the server.
func (l *link) sent(p *parcel) {
	if p.last {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.p.proto.silent(p.data) {
		l.silent = true
		return
	}
	l.expect = append(l.expect, p)
}

// line is one direction's parcels, in order.
type line struct {
	mu      sync.Mutex
	parcels []*parcel
	more    chan struct{} // has room for one: there may be more
	closed  chan struct{} // nothing more comes
}

func newLine() *line {
	return &line{more: make(chan struct{}, 1), closed: make(chan struct{})}
}

func (q *line) put(p *parcel) {
	q.mu.Lock()
	q.parcels = append(q.parcels, p)
	q.mu.Unlock()
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *line) close() { close(q.closed) }

// first waits for a parcel and leaves it in line; nil: the connection ended.
func (q *line) first(done <-chan struct{}) *parcel {
	for {
		q.mu.Lock()
		var p *parcel
		if len(q.parcels) > 0 {
			p = q.parcels[0]
		}
		q.mu.Unlock()
		if p != nil {
			return p
		}
		select {
		case <-q.more:
		case <-done:
			return nil
		}
	}
}

func (q *line) drop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.parcels[0] = nil
	q.parcels = q.parcels[1:]
}

// drain takes what is left when the connection ended, after its reader did.
func (q *line) drain() []*parcel {
	<-q.closed
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.parcels
}
