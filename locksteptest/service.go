package locksteptest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// TB is what is needed of a test: *testing.T has it, and so have those of other
// frameworks.
type TB interface {
	Helper()
	Cleanup(f func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Service is what a server is elsewhere: what all clients share.
type Service struct {
	t       TB
	service *memengine.Service
	control engine.Engine // a handle of the test's own
	moved   atomic.Int64  // how far the clock was moved

	mu    sync.Mutex
	wires []*wire
}

// NewService is an empty service for a test.
func NewService(t TB) *Service {
	s := &Service{t: t}
	s.service = memengine.NewService(memengine.WithClock(s.now))
	s.control = s.service.Engine()
	return s
}

func (s *Service) now() time.Time { return time.Now().Add(time.Duration(s.moved.Load())) }

// Client is another program on the service. It logs nothing unless an option says
// so.
func (s *Service) Client(opts ...lockstep.Option) *Client {
	s.t.Helper()
	w := &wire{Engine: s.service.Engine(), s: s}
	c, err := lockstep.New(w, append([]lockstep.Option{lockstep.WithLogger(nil)}, opts...)...)
	if err != nil {
		s.t.Fatalf("locksteptest: %v", err)
	}
	s.mu.Lock()
	s.wires = append(s.wires, w)
	s.mu.Unlock()
	s.t.Cleanup(func() {
		w.change(func() { w.cut, w.delay = false, 0 })
		if err := c.Close(); err != nil {
			s.t.Errorf("locksteptest: %v", err)
		}
	})
	return &Client{Client: c, s: s, wire: w}
}

// Advance moves the clocks of the service and of all its clients forward at once,
// as if the machine had been stopped for d: nobody renews anything meanwhile. Leases
// whose trust window is over by then are lost, and sessions older than their TTL
// end. Whoever asks a lease is told so at once; contexts end a moment later.
func (s *Service) Advance(d time.Duration) {
	s.moved.Add(int64(max(d, 0)))
	s.mu.Lock()
	wires := slices.Clone(s.wires)
	s.mu.Unlock()
	for _, w := range wires {
		w.lookAtTheClock()
	}
	s.service.EndOverdue()
}

// Forget makes the service lose all its data, as a server does that was replaced.
func (s *Service) Forget() { s.service.Forget() }

// Client is a client whose misfortunes a test makes.
type Client struct {
	*lockstep.Client

	s    *Service
	wire *wire
}

// New is a client on a service of its own.
func New(t TB, opts ...lockstep.Option) *Client {
	t.Helper()
	return NewService(t).Client(opts...)
}

// Service is what the client is a client of: for others beside it.
func (c *Client) Service() *Service { return c.s }

// Lose takes a lease away, as `lockstep release --force` does: the next in line is
// let in. The lease has ended when Lose returns, unless the client is cut off: then
// it goes on believing until its trust window closes.
func (c *Client) Lose(l *lockstep.Lease) {
	c.s.t.Helper()
	ctx := context.Background()
	for name, err := range c.s.control.Names(ctx, "") {
		var line lockstep.Line
		if err == nil {
			line, err = c.s.control.Line(ctx, name)
		}
		if err != nil {
			c.s.t.Fatalf("locksteptest: %v", err)
		}
		for _, p := range slices.Concat(line.Holders, line.Waiters) {
			if p.ID != l.ID() {
				continue
			}
			if err := c.s.control.Remove(ctx, name, p.ID); err != nil {
				c.s.t.Fatalf("locksteptest: %v", err)
			}
			return
		}
	}
}

// EndSession makes the service forget the client's session now, as if its TTL had
// run out: all its leases are lost, its groups are left, and those who wait are let
// in. The client is told, unless it is cut off; its next claim begins another
// session.
func (c *Client) EndSession() {
	for _, session := range c.wire.living() {
		c.s.service.EndSession(session)
	}
}

// Cut has the network swallow everything between the client and the service, until
// [Client.Heal]. Nothing fails by that: calls hang, as they do.
func (c *Client) Cut() { c.wire.change(func() { c.wire.cut = true }) }

// Heal undoes Cut. What was sent meanwhile is lost.
func (c *Client) Heal() { c.wire.change(func() { c.wire.cut = false }) }

// Delay has every call from now on arrive d later; 0: at once.
func (c *Client) Delay(d time.Duration) { c.wire.change(func() { c.wire.delay = d }) }

// errCut is the outcome that nobody knows.
var errCut = errors.New("locksteptest: connection lost")

var errClockMoved = errors.New("locksteptest: the clock was moved")
