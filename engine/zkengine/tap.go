package zkengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-zookeeper/zk"
)

// Tap stands between a go-zookeeper client and the network, as its dialer and its
// event callback, and knows what that client does not tell: which timeout was
// negotiated, when a connection began and last said something, that a session has
// ended, and every event. A client that is to be passed to [FromConn] is made with
// one:
//
//	tap := zkengine.NewTap(nil)
//	conn, _, err := zk.Connect(servers, timeout, zk.WithDialer(tap.Dial), zk.WithEventCallback(tap.Event))
//	e, err := zkengine.FromConn(ctx, conn, tap)
//
// A Tap belongs to one client. Its methods are the client's to call.
type Tap struct {
	dial   func(ctx context.Context, network, address string) (net.Conn, error)
	single bool // one session, and no other after it

	mu        sync.Mutex
	session   *zkSession // nil: none yet, or it has ended
	link      *link      // nil: not connected
	spent     bool       // single, and its session has ended or closed
	refusal   error      // why the last connection did not become one
	changed   chan struct{}
	listeners map[string][]listener
	armed     map[string]bool // paths whose going is watched (conn.watchGone)
	links     uint32
}

// zkSession is one session at ZooKeeper.
type zkSession struct {
	id      int64
	passwd  []byte
	timeout atomic.Int64  // as negotiated last: another member may have other bounds
	over    chan struct{} // closed when ZooKeeper said that it ended
}

func (z *zkSession) ttl() time.Duration { return time.Duration(z.timeout.Load()) }

func (z *zkSession) ended() bool {
	select {
	case <-z.over:
		return true
	default:
		return false
	}
}

// link is one TCP connection that carries a session.
type link struct {
	n       uint32 // of this Tap, from 1
	conn    net.Conn
	timeout time.Duration
	began   time.Time    // when its connect request was sent
	contact atomic.Int64 // when its last bytes came, in ns since began
	gone    chan struct{}
}

// lastContact is when the server last said something.
func (l *link) lastContact() time.Time { return l.began.Add(time.Duration(l.contact.Load())) }

// listener is told of events on paths it is registered for. It must not block.
type listener interface{ event(ev zk.Event) }

// NewTap is a Tap over a dialer; nil: TCP. A dialer is where TLS belongs.
func NewTap(dial func(ctx context.Context, network, address string) (net.Conn, error)) *Tap {
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	return &Tap{dial: dial, changed: make(chan struct{}), listeners: make(map[string][]listener), armed: make(map[string]bool)}
}

var errSpent = errors.New("the session has ended")

// Dial is the client's dialer. Where the Tap is for one session it refuses once
// that has ended: go-zookeeper would begin another by itself, and requests that
// still wait in it would be carried out there.
func (t *Tap) Dial(network, address string, timeout time.Duration) (net.Conn, error) {
	t.mu.Lock()
	spent := t.spent
	t.mu.Unlock()
	if spent {
		return nil, errSpent
	}
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	c, err := t.dial(ctx, network, address)
	if err != nil {
		t.refused(err)
		return nil, err
	}
	return &tapConn{Conn: c, tap: t}, nil
}

// refused notes why there is no connection, for whoever waits for one.
func (t *Tap) refused(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refusal = err
}

// Event is the client's event callback.
func (t *Tap) Event(ev zk.Event) {
	if ev.Type == zk.EventSession {
		if ev.State == zk.StateExpired {
			t.expired()
		}
		return
	}
	t.mu.Lock()
	told := t.listeners[ev.Path]
	delete(t.armed, ev.Path)
	t.mu.Unlock()
	for _, l := range told {
		l.event(ev)
	}
}

// expired: ZooKeeper does not know the session any more.
func (t *Tap) expired() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spent = t.single
	t.endSession()
}

// endSession is called with mu held.
func (t *Tap) endSession() {
	if t.session != nil {
		close(t.session.over)
		t.session = nil
		clear(t.armed)
	}
	t.tell()
}

// tell wakes those who wait for another state. mu is held.
func (t *Tap) tell() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// close forbids another session, and a connection for this one.
func (t *Tap) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spent = true
	t.tell()
}

// now is the session and the link; nil where there is none.
func (t *Tap) now() (*zkSession, *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.session, t.link
}

// await waits for a session with a link.
func (t *Tap) await(ctx context.Context) (*zkSession, *link, error) {
	for {
		t.mu.Lock()
		z, l, changed, spent := t.session, t.link, t.changed, t.spent
		t.mu.Unlock()
		switch {
		case z != nil && l != nil:
			return z, l, nil
		case spent:
			return nil, nil, errSpent
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, nil, fmt.Errorf("%w: %w", ctx.Err(), t.why())
		}
	}
}

// why is why there is no connection.
func (t *Tap) why() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.refusal != nil {
		return t.refusal
	}
	return errors.New("no server has answered")
}

// connected takes a connect reply. An id of 0 says that the session has ended; the
// client tells that itself (Event).
func (t *Tap) connected(c *tapConn, r connectReply) {
	if r.session == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.session != nil && t.session.id != r.session {
		t.endSession()
	}
	if t.session == nil {
		t.session = &zkSession{id: r.session, passwd: r.passwd, over: make(chan struct{})}
	}
	t.session.timeout.Store(int64(r.timeout))
	t.links++
	c.link = &link{n: t.links, conn: c.Conn, timeout: r.timeout, began: c.sent, gone: make(chan struct{})}
	c.link.contact.Store(int64(time.Since(c.sent)))
	t.link, t.refusal = c.link, nil
	t.tell()
}

func (t *Tap) disconnected(l *link) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(l.gone)
	if t.link == l {
		t.link = nil
		t.tell()
	}
}

// drop cuts a link that says nothing, so that the client tries another server.
func (l *link) drop() {
	_ = l.conn.Close() // the client's own reader fails, and reports it
}

// listen registers l for events on a path; unlisten ends it.
func (t *Tap) listen(path string, l listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !slices.Contains(t.listeners[path], l) {
		// A new slice: Event may be walking over the old one.
		t.listeners[path] = append(slices.Clip(t.listeners[path]), l)
	}
}

func (t *Tap) unlisten(path string, l listener) {
	t.mu.Lock()
	defer t.mu.Unlock()
	old := t.listeners[path]
	// A new slice: Event may be walking over the old one.
	var rest []listener
	for _, other := range old {
		if other != l {
			rest = append(rest, other)
		}
	}
	if len(rest) == 0 {
		delete(t.listeners, path)
	} else {
		t.listeners[path] = rest
	}
}

// isArmed says whether the going of a path is watched already.
func (t *Tap) isArmed(path string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.armed[path]
}

// arm notes that it is, unless its event came first.
func (t *Tap) arm(path string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.listeners[path]) > 0 {
		t.armed[path] = true
	}
}
