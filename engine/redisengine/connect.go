package redisengine

import (
	"context"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// connect makes a client, and obeys ctx while it does: rueidis itself knows only
// time-outs there. Connections that are made later are not ctx's. closed is called
// whenever one of them ends.
func connect(ctx context.Context, o rueidis.ClientOption, closed func()) (rueidis.Client, error) {
	opening := &opening{ctx: ctx, closed: closed}
	defer opening.over()
	o.DialCtxFn = opening.dial
	c, err := rueidis.NewClient(o)
	if err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return c, err
}

// opening is the time in which a client is made.
type opening struct {
	ctx    context.Context
	closed func()

	mu     sync.Mutex
	isOver bool
	stops  []func() bool
}

func (o *opening) dial(ctx context.Context, address string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	o.interrupt(cancel)
	network := "tcp"
	if strings.HasPrefix(address, "/") {
		network = "unix"
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	o.interrupt(func() { _ = c.SetDeadline(time.Unix(1, 0)) }) // the handshake ends
	return &connection{c, o.closed}, nil
}

// connection tells of its end: the next request will have to connect anew.
type connection struct {
	net.Conn

	closed func()
}

func (c *connection) Close() error {
	c.closed()
	return c.Conn.Close()
}

// interrupt has f called if the context ends while the client is made.
func (o *opening) interrupt(f func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.isOver {
		o.stops = append(o.stops, context.AfterFunc(o.ctx, f))
	}
}

func (o *opening) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.isOver = true
	for _, stop := range o.stops {
		stop()
	}
}
