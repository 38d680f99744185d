package etcdengine

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

// tries is how many a test makes: more in its long form.
func tries(short, long int) int {
	if os.Getenv("LOCKSTEP_SOAK") != "" {
		return long
	}
	return short
}

// guarded is a context that ends with the test, or when it hangs.
func guarded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*patience, fmt.Errorf("nothing happened for %v", 2*patience))
	t.Cleanup(cancel)
	return ctx
}

// start is one server that does not wait for its disk.
func start(t *testing.T) *etcdtest.Member {
	t.Helper()
	return etcdtest.Start(t, unsafe...)
}

// patient is for URLs: no request of a test ends because the machine is loaded.
const patient = "timeout=40s&dial-timeout=40s"

// intercepted is an engine whose requests go through a function.
func intercepted(t *testing.T, s *etcdtest.Member, through func(ctx context.Context, method string, next func(context.Context) error) error) *Engine {
	t.Helper()
	config := clientv3.Config{Endpoints: []string{s.Addr}, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{grpc.WithChainUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			return through(ctx, method, func(ctx context.Context) error { return next(ctx, method, req, reply, cc, opts...) })
		}),
	}}
	c, err := clientv3.New(config)
	if err != nil {
		t.Fatal(err)
	}
	e, err := FromClient(guarded(t), c, WithTimeout(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	e.owned = true
	t.Cleanup(func() { e.Close() })
	return e
}

// delayer is an engine whose requests can be delayed on their way; they go on though their
// callers leave.
type delayer struct {
	*Engine

	t    *testing.T
	next atomic.Pointer[delayed]
}

// delayed is the next request of a method.
type delayed struct {
	t       *testing.T
	method  string
	held    chan struct{} // closed when it is on its way
	release chan struct{}
	arrived chan error
}

func newDelayer(t *testing.T, s *etcdtest.Member) *delayer {
	t.Helper()
	l := &delayer{t: t}
	l.Engine = intercepted(t, s, func(ctx context.Context, method string, next func(context.Context) error) error {
		d := l.next.Load()
		if d == nil || !strings.HasSuffix(method, d.method) || !l.next.CompareAndSwap(d, nil) {
			return next(ctx)
		}
		done := make(chan error, 1)
		go func() {
			<-d.release
			err := next(context.WithoutCancel(ctx))
			done <- err
			d.arrived <- err
		}()
		close(d.held)
		select {
		case err := <-done:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return l
}

// hold delays the next request of a method.
func (l *delayer) hold(method string) *delayed {
	d := &delayed{t: l.t, method: method, held: make(chan struct{}), release: make(chan struct{}), arrived: make(chan error, 1)}
	l.next.Store(d)
	return d
}

// deliver returns when the server has answered the request.
func (d *delayed) deliver() {
	d.t.Helper()
	close(d.release)
	if err := <-d.arrived; err != nil {
		d.t.Fatalf("the late request: %v", err)
	}
}

// opened on addresses as a user does, by a URL's target.
func openOn(t *testing.T, addrs []string, params map[string]string) *Engine {
	t.Helper()
	with := target(t, "etcd://h?"+patient).Params
	maps.Copy(with, params)
	e, err := open(guarded(t), engine.Target{Scheme: scheme, Hosts: addrs, Params: with})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	t.Cleanup(func() { e.Close() }) // the server may be gone by then
	return e
}

// client is an engine with a session, as a process has it.
type client struct {
	*Session

	t   *testing.T
	ctx context.Context
}

func begin(t *testing.T, e *Engine, o engine.SessionOptions) *client {
	t.Helper()
	if o.TTL == 0 {
		o.TTL = 10 * time.Minute
	}
	s, err := e.Begin(guarded(t), o)
	if err != nil {
		t.Fatalf("begin: %v", err)
	}
	return &client{s.(*Session), t, guarded(t)}
}

// newClaim is of one share of one.
func newClaim(name string, k engine.Kind) *engine.Claim {
	return &engine.Claim{ID: engine.ClaimID(rand.Text()), Name: name, Kind: k, Shares: 1, Limit: 1}
}

func mutex(name string) *engine.Claim { return newClaim(name, engine.Mutex) }

func try(c *engine.Claim) *engine.Claim { c.Try = true; return c }

// election is a claim on "n".
func election(note string) *engine.Claim {
	c := newClaim("n", engine.Election)
	c.Note = []byte(note)
	return c
}

// take must be granted.
func (c *client) take(cl *engine.Claim) engine.Grant {
	c.t.Helper()
	g, err := c.Acquire(c.ctx, cl, false)
	if err != nil {
		c.t.Fatalf("acquire %q: %v", cl.Name, err)
	}
	return g
}

// give must find the claim.
func (c *client) give(cl *engine.Claim) {
	c.t.Helper()
	if removed, err := c.Release(c.ctx, cl); err != nil || !removed {
		c.t.Fatalf("release %q: removed %v, %v", cl.Name, removed, err)
	}
}

// queued is an Acquire under way.
type queued struct {
	t     *testing.T
	claim *engine.Claim
	grant engine.Grant
	err   error
	done  chan struct{}
}

// queue returns when the claim is in line and its Acquire asleep.
func (c *client) queue(cl *engine.Claim) *queued {
	c.t.Helper()
	q := &queued{t: c.t, claim: cl, done: make(chan struct{})}
	go func() {
		defer close(q.done)
		q.grant, q.err = c.Acquire(c.ctx, cl, false)
	}()
	c.t.Cleanup(func() { <-q.done })
	await(c.t, "the claim to wait", func() bool {
		l, err := c.e.Line(c.ctx, cl.Name)
		return err == nil && slices.ContainsFunc(l.Waiters, func(p engine.Place) bool { return p.ID == cl.ID }) && len(c.busy()) == 0
	})
	return q
}

func (q *queued) granted() engine.Grant {
	q.t.Helper()
	<-q.done
	if q.err != nil {
		q.t.Fatalf("the waiter on %q: %v", q.claim.Name, q.err)
	}
	return q.grant
}

// core is a client as a program of a user's has it.
func core(t *testing.T, addrs []string, ttl time.Duration) *lockstep.Client {
	t.Helper()
	timeout := "?" + patient
	if len(addrs) > 1 { // a member that stands still costs so much
		timeout = "?timeout=3s&dial-timeout=40s"
	}
	quiet := lockstep.WithLogger(slog.New(slog.DiscardHandler))
	c, err := lockstep.Open(guarded(t), "etcd://"+strings.Join(addrs, ",")+timeout, Driver, lockstep.WithTTL(ttl), quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // the server may be gone by then
	return c
}

// admin is etcd's own client.
func admin(t *testing.T, addrs ...string) *clientv3.Client {
	t.Helper()
	return newClient(t, addrs, nil)
}

// keyAt is a key as an event of its deletion has it.
func keyAt(key string, rev int64) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte(key), ModRevision: rev}
}
