package zkengine

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// tapConn is a client's TCP connection. Its first message each way is the connect
// request and its reply; after them it only takes note that something came. It reads
// ahead: the client asks for four bytes, and then for as many as they say.
type tapConn struct {
	net.Conn

	tap  *Tap
	sent time.Time     // when the connect request was sent
	wait time.Duration // for its reply
	head []byte        // of the connect reply, until it is whole
	link *link         // nil: not connected yet
	end  sync.Once

	buf  []byte // what is read into
	rest []byte // of it, what the client has not taken yet
}

// readAhead is how much is read at once.
const readAhead = 8 << 10

// handshake is how long a server that took the connection may take to answer the
// connect request, at most, and leastHandshake at least: in between it is a third of
// the session's timeout. go-zookeeper would wait for over six timeouts.
const handshake, leastHandshake = 5 * time.Second, time.Second

func (c *tapConn) Write(b []byte) (int, error) {
	if c.sent.IsZero() {
		c.sent, c.wait = time.Now(), handshake
		if len(b) >= 20 { // length, protocol version, last zxid, timeout in ms, …
			timeout := time.Duration(binary.BigEndian.Uint32(b[16:])) * time.Millisecond
			c.wait = min(max(timeout/3, leastHandshake), handshake)
		}
	}
	n, err := c.Conn.Write(b)
	if err != nil {
		err = fmt.Errorf("%w (%w)", errLink, err) // the client passes it on as the request's answer
	}
	return n, err
}

func (c *tapConn) SetReadDeadline(t time.Time) error {
	if limit := time.Now().Add(c.wait); c.link == nil && t.After(limit) {
		t = limit
	}
	return c.Conn.SetReadDeadline(t)
}

func (c *tapConn) Read(b []byte) (int, error) {
	if len(c.rest) == 0 {
		if err := c.fill(); err != nil {
			return 0, err
		}
	}
	n := copy(b, c.rest)
	c.rest = c.rest[n:]
	return n, nil
}

// fill reads what has come.
func (c *tapConn) fill() error {
	if c.buf == nil {
		c.buf = make([]byte, readAhead)
	}
	n, err := c.Conn.Read(c.buf)
	c.rest = c.buf[:n]
	switch {
	case c.link == nil:
		c.connecting(c.rest)
	case n > 0:
		c.link.contact.Store(int64(time.Since(c.link.began)))
	}
	if err != nil {
		c.lost(err)
	}
	if n > 0 {
		return nil // what is wrong is found again
	}
	return err
}

// connecting collects the connect reply, which the client reads in pieces. Nothing
// comes behind it before the client has asked something.
func (c *tapConn) connecting(b []byte) {
	c.head = append(c.head, b...)
	if r, ok := parseConnectReply(c.head); ok {
		c.head = nil
		c.tap.connected(c, r)
	}
}

func (c *tapConn) Close() error {
	c.lost(errors.New("closed before the server answered"))
	return c.Conn.Close()
}

func (c *tapConn) lost(err error) {
	c.end.Do(func() {
		if c.link != nil {
			c.tap.disconnected(c.link)
		} else {
			c.tap.refused(err)
		}
	})
}

// connectReply is what a server answers a connect request with: length, protocol
// version, timeout in ms, session id, password, and since 3.4 whether it only
// reads.
type connectReply struct {
	timeout time.Duration
	session int64
	passwd  []byte
}

func parseConnectReply(b []byte) (connectReply, bool) {
	if len(b) < 4 || len(b) < 4+int(binary.BigEndian.Uint32(b)) {
		return connectReply{}, false
	}
	b = b[4:]
	if len(b) < 20 {
		return connectReply{}, false
	}
	r := connectReply{
		timeout: time.Duration(binary.BigEndian.Uint32(b[4:])) * time.Millisecond,
		session: int64(binary.BigEndian.Uint64(b[8:])),
	}
	if n := int(binary.BigEndian.Uint32(b[16:])); n <= len(b)-20 {
		r.passwd = append([]byte(nil), b[20:20+n]...)
	}
	return r, true
}
