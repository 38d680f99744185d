package zkengine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
)

// Engine is one client of one ensemble; it implements [engine.Engine].
type Engine struct {
	conn  *conn                                                       // what needs no session: lines and maps
	begin func(ctx context.Context, ttl time.Duration) (*conn, error) // nil: sessions share conn
	paths paths
	opts  options
	store *store
	hosts []string // for the doctor; none where the caller has connected
	dial  dialFunc

	mu       sync.Mutex
	sessions map[*Session]struct{}
	isClosed bool
	ctx      context.Context // ends when Close begins
	stop     context.CancelFunc
	over     chan struct{} // closed when Close has returned
	work     sync.WaitGroup
}

// Option changes how an engine works.
type Option func(*options)

type options struct {
	log        *slog.Logger
	root       string
	acl        []zk.ACL
	persistent bool
}

// WithLogger has the engine report what nobody can act on in code, such as
// connections that come and go. Default: [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithRoot puts a path, such as "/services/lockstep", in front of every name.
func WithRoot(root string) Option { return func(o *options) { o.root = root } }

// WithACL is what new nodes are made with. Default: everybody may do everything.
// Other programs that share a lock need permission to read, create and delete; this
// one to write as well.
func WithACL(acl []zk.ACL) Option { return func(o *options) { o.acl = acl } }

// WithPersistentParents makes the nodes above claims plain ones, which stay, and not
// containers, which ZooKeeper removes when they are no longer used. kazoo's locks
// break where they are used again after their parent was removed.
func WithPersistentParents() Option { return func(o *options) { o.persistent = true } }

// FromConn is an engine over a client that the caller has made with the tap (see
// [Tap]) and closes after the engine. Its sessions are that client's session, with
// that timeout. It makes one round trip.
func FromConn(ctx context.Context, client *zk.Conn, tap *Tap, opts ...Option) (*Engine, error) {
	if client == nil || tap == nil {
		return nil, fmt.Errorf("%w: no client, or no tap that it was made with", engine.ErrInvalid)
	}
	o := defaults(opts)
	c := &conn{zk: client, tap: tap, acl: o.acl}
	if _, _, err := tap.await(ctx); err != nil {
		return nil, fmt.Errorf("the client has no session, or was not made with this tap: %w", err)
	}
	e, err := newEngine(c, o)
	if err == nil {
		err = e.probe(ctx)
	}
	return e, err
}

func defaults(opts []Option) options {
	o := options{log: slog.Default(), acl: zk.WorldACL(zk.PermAll)}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

func newEngine(c *conn, o options) (*Engine, error) {
	e := &Engine{
		conn: c, opts: o, sessions: make(map[*Session]struct{}), over: make(chan struct{}),
	}
	e.ctx, e.stop = context.WithCancel(context.Background())
	if o.root != "" && o.root != "/" {
		root, err := e.CheckName(o.root)
		if err != nil {
			return nil, err
		}
		e.paths.root = "/" + root
	}
	e.store = newStore(e)
	return e, nil
}

// probe makes the round trip that shows a user without permissions.
func (e *Engine) probe(ctx context.Context) error {
	return do(ctx, e.conn, func() error {
		_, err := e.conn.exists(e.paths.top())
		return err
	})
}

// Info is what the engine can do.
func (e *Engine) Info() engine.Info {
	return engine.Info{
		Engine:     "zookeeper",
		FIFO:       true,
		Store:      true,
		Kinds:      []engine.Kind{engine.Mutex, engine.ReadWrite, engine.Semaphore, engine.Election, engine.Group},
		TokenOrder: "name",
		MaxValue:   maxValue,
		MaxTx:      maxValue,
		MaxOps:     maxOps,
		Straggle:   straggle,
		Suspend:    true,
		Weaker: []string{
			"A watch may show several changes of a key as one.",
			"An ensemble that lost its data counts from the beginning: tokens fall.",
			fmt.Sprintf("A map has at most %d keys: ZooKeeper cannot list a node's children in pieces.", maxKeys),
		},
	}
}

// straggle is for how long a request that was given up is reckoned with. The engine
// waits for its own requests (Session.inTurn); what a broken connection still
// carried a server may read after what another one brought.
const straggle = time.Second

// Store is the maps of this ensemble.
func (e *Engine) Store() engine.Store { return e.store }

func (e *Engine) isOver() bool { return e.ctx.Err() != nil }

// ask calls f, which reads or writes over the engine's own connection.
func ask[T any](ctx context.Context, e *Engine, f func() (T, error)) (T, error) {
	var none T
	if e.isOver() {
		return none, engine.ErrClosed
	}
	ctx, cancel := e.until(ctx)
	defer cancel()
	v, err := await(ctx, e.conn, f)
	if err != nil && e.isOver() {
		err = engine.ErrClosed
	}
	return v, err
}

// latest has what is then asked be no older than this call (conn.latest).
func (e *Engine) latest(ctx context.Context) error {
	_, err := ask(ctx, e, func() (struct{}, error) { return struct{}{}, e.conn.latest() })
	return err
}

// until is ctx, or the engine's end.
func (e *Engine) until(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(e.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// ensure makes a node and what is missing above it.
func (c *conn) ensure(path string, container bool) error {
	err := c.create(path, container)
	if !errors.Is(err, zk.ErrNoNode) {
		return err
	}
	if err := c.ensure(parent(path), container); err != nil {
		return err
	}
	return c.create(path, container)
}

// background has f run until Close, which waits for it; false: that has begun.
func (e *Engine) background(f func()) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.isClosed {
		e.work.Go(f)
	}
	return !e.isClosed
}

// Close ends every wait and watch, and the connection.
func (e *Engine) Close() error {
	e.mu.Lock()
	already := e.isClosed
	e.isClosed = true
	left := make([]*Session, 0, len(e.sessions))
	for s := range e.sessions {
		left = append(left, s)
	}
	e.mu.Unlock()
	if already {
		<-e.over
		return nil
	}
	defer close(e.over)
	e.stop()
	for _, s := range left {
		s.abandon()
	}
	e.work.Wait()
	e.conn.close()
	return nil
}
