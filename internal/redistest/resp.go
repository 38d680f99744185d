package redistest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// Error is what a server answered instead of a result: "WRONGTYPE Operation …".
type Error string

func (e Error) Error() string { return string(e) }

// Do asks the server one thing on a connection of its own, over its unix socket.
// The answer is nil, a string, an int64, a []any or, as an error, an [Error];
// inside of a []any an Error is an element.
func (s *Server) Do(args ...string) (any, error) {
	c, err := s.Dial()
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Do(args...)
}

// MustDo is Do where the test cannot go on without an answer. It must be called
// by the goroutine of t.
func (s *Server) MustDo(t TB, args ...string) any {
	t.Helper()
	answer, err := s.Do(args...)
	if err != nil {
		t.Fatalf("redistest: %s: %v", strings.Join(args, " "), err)
	}
	return answer
}

// Dial is a connection over the unix socket for what Do cannot ask: a
// transaction, a subscription.
func (s *Server) Dial() (*Conn, error) {
	c, err := Dial("unix", s.Socket)
	if err != nil || s.opts.Password == "" {
		return c, err
	}
	if _, err := c.Do("AUTH", s.opts.Password); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// Conn is a connection that speaks RESP 2, and 3 after HELLO 3: then a map is
// the []any of its keys and values in turn, and a push is a []any like a reply.
// One goroutine may use it at a time.
type Conn struct {
	conn net.Conn
	r    *bufio.Reader
}

// Dial connects to any server, or to a proxy in front of one.
func Dial(network, addr string) (*Conn, error) {
	conn, err := net.DialTimeout(network, addr, patience) //nolint:noctx // patience is the bound
	if err != nil {
		return nil, err
	}
	return &Conn{conn, bufio.NewReader(conn)}, nil
}

// Close closes the connection.
func (c *Conn) Close() error { return c.conn.Close() }

// Do sends one request and reads its answer.
func (c *Conn) Do(args ...string) (any, error) {
	if err := c.Send(args...); err != nil {
		return nil, err
	}
	return c.Receive()
}

// Send sends one request.
func (c *Conn) Send(args ...string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	_, err := io.WriteString(c.conn, b.String())
	return err
}

// Receive reads one answer or message. It waits for it for 30 s.
func (c *Conn) Receive() (any, error) {
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, err
	}
	v, err := c.read()
	if err != nil {
		return nil, err
	}
	if e, ok := v.(Error); ok {
		return nil, e
	}
	return v, nil
}

func (c *Conn) read() (any, error) {
	line, err := c.r.ReadString('\n')
	if err != nil {
		return nil, err
	}
	line = strings.TrimSuffix(line, "\r\n")
	if line == "" {
		return nil, errors.New("redistest: an empty line instead of an answer")
	}
	kind, rest := line[0], line[1:]
	switch kind {
	case '+', '#', ',', '(':
		return rest, nil
	case '-':
		return Error(rest), nil
	case '_':
		return nil, nil //nolint:nilnil // Redis's own nil
	}
	n, err := strconv.ParseInt(rest, 10, 64)
	if err != nil {
		return nil, fmt.Errorf("redistest: an answer %q: %w", line, err)
	}
	return c.sized(kind, n)
}

func (c *Conn) sized(kind byte, n int64) (any, error) {
	switch {
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil //nolint:nilnil // Redis's own nil
	}
	switch kind {
	case '$', '=':
		return c.bulk(n)
	case '*', '>', '~':
		return c.array(n)
	case '%':
		return c.array(2 * n)
	}
	return nil, fmt.Errorf("redistest: an answer of kind %q", kind)
}

func (c *Conn) bulk(n int64) (any, error) {
	data := make([]byte, n+2)
	if _, err := io.ReadFull(c.r, data); err != nil {
		return nil, err
	}
	return string(data[:n]), nil
}

func (c *Conn) array(n int64) (any, error) {
	all := make([]any, n)
	for i := range all {
		v, err := c.read()
		if err != nil {
			return nil, err
		}
		all[i] = v
	}
	return all, nil
}
