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

// conn is a connection to ZooKeeper, and the only thing here that calls the client
// library. Its methods block until the server answered or the connection broke;
// await puts a context around them.
//
// An error of a write is one that the server answered with, which changed nothing,
// or errLink: the outcome is unknown.
type conn struct {
	zk    *zk.Conn
	tap   *Tap
	owned bool // close closes zk
	acl   []zk.ACL

	mu     sync.Mutex
	closed bool
	calls  sync.WaitGroup // goroutines of await
}

// errLink: the connection broke under a request.
var errLink = errors.New("zookeeper: the connection broke, or no server could be reached")

// dialed is what a conn of our own is made with.
type dialed struct {
	hosts   []string
	dial    dialFunc
	timeout time.Duration
	auth    []auth
	acl     []zk.ACL
	log     *slog.Logger
}

type auth struct {
	scheme string
	secret []byte
}

// connect makes a connection and waits until it has a session. single: it ends with
// that session.
func connect(ctx context.Context, d dialed, single bool) (*conn, error) {
	tap := NewTap(d.dial)
	tap.single = single
	client, _, err := zk.Connect(d.hosts, d.timeout,
		zk.WithDialer(tap.Dial), zk.WithEventCallback(tap.Event), zk.WithHostProvider(&hosts{}),
		zk.WithLogger(quiet{d.log}), zk.WithLogInfo(false))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalid, err)
	}
	c := &conn{zk: client, tap: tap, owned: true, acl: d.acl}
	if _, _, err = tap.await(ctx); err == nil {
		err = c.authenticate(ctx, d.auth)
	}
	if err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// authenticate adds what the server shall know this connection by. The client
// repeats it by itself on every other connection.
func (c *conn) authenticate(ctx context.Context, all []auth) error {
	for _, a := range all {
		err := do(ctx, c, func() error { return c.zk.AddAuth(a.scheme, a.secret) })
		if err != nil {
			return fmt.Errorf("authenticate by %s: %w", a.scheme, err)
		}
	}
	return nil
}

// quiet has what go-zookeeper prints, which is of connections that come and go,
// seen by those who look for it.
type quiet struct{ log *slog.Logger }

func (q quiet) Printf(format string, args ...any) {
	q.log.Debug("lockstep: zookeeper client", "says", fmt.Sprintf(format, args...))
}

// close ends the session, where the connection is our own, and waits for what is
// under way.
func (c *conn) close() {
	c.mu.Lock()
	closed := c.closed
	c.closed = true
	c.mu.Unlock()
	if !closed && c.owned {
		c.tap.close()
		c.zk.Close()
	}
	c.calls.Wait()
}

// start counts a goroutine of await; false: the conn is closed.
func (c *conn) start() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.calls.Add(1)
	}
	return !c.closed
}

// await calls f and returns its result, or the end of ctx. The client knows no
// context: what was given up goes on in a goroutine of the connection until the
// server answers or the connection breaks.
func await[T any](ctx context.Context, c *conn, f func() (T, error)) (T, error) {
	type result struct {
		v   T
		err error
	}
	var none T
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if !c.start() {
		return none, engine.ErrClosed
	}
	began := time.Now()
	out := make(chan result, 1)
	go func() {
		defer c.calls.Done()
		v, err := f()
		out <- result{v, explain(err)}
	}()
	select {
	case r := <-out:
		return r.v, r.err
	case <-ctx.Done():
		c.suspect(ctx, began)
		return none, ctx.Err()
	}
}

func do(ctx context.Context, c *conn, f func() error) error {
	_, err := await(ctx, c, func() (struct{}, error) { return struct{}{}, f() })
	return err
}

// suspect drops a link that said nothing since a request that ran out of time was
// sent: the client itself would wait for two thirds of the session's timeout, in
// which a whole trust window may close though another server would answer.
func (c *conn) suspect(ctx context.Context, began time.Time) {
	z, l := c.tap.now()
	if z == nil || l == nil || !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return
	}
	if time.Since(began) >= z.ttl()/6 && l.lastContact().Before(began) {
		l.drop()
	}
}

// explain names the errors of the client.
func explain(err error) error {
	switch {
	case err == nil, errors.Is(err, errLink), engine.Definite(err):
		return err
	case errors.Is(err, zk.ErrConnectionClosed), errors.Is(err, zk.ErrNoServer), errors.Is(err, zk.ErrClosing),
		errors.Is(err, zk.ErrSessionExpired), errors.Is(err, zk.ErrSessionMoved):
		return fmt.Errorf("%w (%w)", errLink, err)
	case errors.Is(err, zk.ErrNoAuth), errors.Is(err, zk.ErrAuthFailed):
		return fmt.Errorf("%w: this user may not do what is needed on that node (%w)", engine.ErrUnusable, err)
	case errors.Is(err, zk.ErrInvalidACL):
		return fmt.Errorf("%w: ZooKeeper does not take the ACL that new nodes are to have (%w)", engine.ErrUnusable, err)
	}
	return err
}

// children are the names of a node's children, and what the node itself is.
type children struct {
	names []string
	stat  zk.Stat
}

func (c *conn) children(path string) (children, error) {
	names, stat, err := c.zk.Children(path)
	return childrenOf(names, stat), err
}

// childrenW also watches for the next change of the names, and for the node's going.
func (c *conn) childrenW(path string) (children, error) {
	names, stat, _, err := c.zk.ChildrenW(path)
	return childrenOf(names, stat), err
}

func childrenOf(names []string, stat *zk.Stat) children {
	if stat == nil {
		stat = &zk.Stat{}
	}
	return children{names, *stat}
}

// node is a node's data. nil data is not the same as empty data.
type node struct {
	data []byte
	stat zk.Stat
}

func (c *conn) get(path string) (node, error) {
	data, stat, err := c.zk.Get(path)
	return nodeOf(data, stat), err
}

// getW also watches for the next change of the data, and for the node's going.
func (c *conn) getW(path string) (node, error) {
	data, stat, _, err := c.zk.GetW(path)
	return nodeOf(data, stat), err
}

func nodeOf(data []byte, stat *zk.Stat) node {
	if stat == nil {
		stat = &zk.Stat{}
	}
	return node{data, *stat}
}

// exists is nil where there is no such node.
func (c *conn) exists(path string) (*zk.Stat, error) {
	ok, stat, err := c.zk.Exists(path)
	if err != nil || !ok {
		return nil, err
	}
	return stat, nil
}

// existsW also watches for the node's coming, or change, or going.
func (c *conn) existsW(path string) (*zk.Stat, error) {
	ok, stat, _, err := c.zk.ExistsW(path)
	if err != nil || !ok {
		return nil, err
	}
	return stat, nil
}

// watched is a node that is watched now.
type watched struct {
	owner int64 // the session that it ends with
	anew  bool  // it was not watched before
}

// watchGone watches for the going of a node: ErrNoNode where it has gone. Listeners
// of the path are told. However many wait for one node, the server and the client
// keep one watch.
func (c *conn) watchGone(path string) (watched, error) {
	if c.tap.isArmed(path) {
		stat, err := c.exists(path)
		switch {
		case err != nil:
			return watched{}, err
		case stat == nil:
			return watched{}, zk.ErrNoNode
		}
		return watched{owner: stat.EphemeralOwner}, nil
	}
	c.tap.arm(path)
	n, err := c.childrenW(path) // it has none: no event but its going
	if err != nil {
		c.tap.Event(zk.Event{Type: zk.EventNotWatching, Path: path, Err: err})
		return watched{}, err
	}
	return watched{n.stat.EphemeralOwner, true}, nil
}

// watchAny watches for any change of a node.
func (c *conn) watchAny(path string) (watched, error) {
	n, err := c.getW(path)
	return watched{n.stat.EphemeralOwner, true}, err
}

// multi does all operations or none. failed is the index of the one that was
// refused, -1 where none was.
func (c *conn) multi(ops ...any) (results []zk.MultiResponse, failed int, err error) {
	results, err = c.zk.Multi(ops...)
	for i, r := range results {
		if r.Error != nil {
			return results, i, explain(r.Error)
		}
	}
	return results, -1, explain(err)
}

// latest has what is read next be no older than this call: it is a transaction that
// changes nothing, to which a quorum has to agree. sync will not do where somebody reads
// a line or a map who knows that a claim came or went, or what was committed.
func (c *conn) latest() error {
	_, _, err := c.multi(&zk.CheckVersionRequest{Path: "/", Version: -1})
	if errors.Is(err, zk.ErrNoAuth) {
		return nil // a transaction that is refused has its place among the others too
	}
	return err
}

// sync has what is read next be as new as what the leader has applied. A follower may have
// applied more, and told its clients. It is no write.
func (c *conn) sync(path string) error {
	_, err := c.zk.Sync(path)
	return explain(err)
}

// create makes a node that stays: a container, which ZooKeeper removes some time
// after its last child has gone, or a plain one.
func (c *conn) create(path string, container bool) error {
	var err error
	if container {
		_, err = c.zk.CreateContainer(path, []byte{}, zk.FlagContainer, c.acl)
	}
	if !container || isUnimplemented(err) {
		_, err = c.zk.Create(path, []byte{}, zk.FlagPersistent, c.acl)
	}
	if errors.Is(err, zk.ErrNodeExists) {
		return nil
	}
	return explain(err)
}

// isUnimplemented: the server knows no containers (code -6, which the client has no
// error for).
func isUnimplemented(err error) bool { return err != nil && err.Error() == "unknown error: -6" }

// delete removes a node; ErrNoNode and ErrNotEmpty are the caller's to judge.
func (c *conn) delete(path string) error { return explain(c.zk.Delete(path, -1)) }
