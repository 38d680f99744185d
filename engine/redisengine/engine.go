package redisengine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
)

// Engine is one client of one Redis; it implements [engine.Engine].
type Engine struct {
	t       Transport
	prefix  string
	keep    time.Duration
	log     *slog.Logger
	client  string // whose channel tells of grants
	scripts scripts
	store   *store

	bell *bell
	room waitRoom

	mu       sync.Mutex
	sessions map[*Session]struct{}
	isClosed bool
	closed   chan struct{} // closed when Close begins
	over     chan struct{} // and when it has returned
}

type scripts struct {
	acquire, enter, release, renew, beat, note, pass, look *script
}

// Option changes how an engine works.
type Option func(*options)

type options struct {
	log    *slog.Logger
	prefix string
	db     int
	keep   time.Duration
}

// WithLogger has the engine report what nobody can act on in code, such as a
// subscription that does not come back. Default: [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithKeyPrefix puts this in front of every key, that of a lock's name included.
// It has no braces, and does not contain ":lockstep:".
func WithKeyPrefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// WithDatabase says which of the server's databases the client has selected: all of
// them share its channels, and what is committed in one must not be shown in
// another. Default: 0. A URL says it by itself.
func WithDatabase(n int) Option { return func(o *options) { o.db = n } }

// FromClient is an engine over a client that the caller has, and closes after the
// engine. It makes one round trip. Errors: [engine.ErrUnusable] for a user
// without the permissions that it needs.
//
// The client must speak to one Redis: a Sentinel's or a Cluster's master changes,
// and what was granted may be forgotten then.
func FromClient(ctx context.Context, c rueidis.Client, opts ...Option) (*Engine, error) {
	if c == nil {
		return nil, fmt.Errorf("%w: no client", engine.ErrInvalid)
	}
	return FromTransport(ctx, &rueidisTransport{client: c}, opts...)
}

// FromTransport is an engine over any client library. The engine closes the
// transport, also where FromTransport fails.
func FromTransport(ctx context.Context, t Transport, opts ...Option) (*Engine, error) {
	e, err := newEngine(t, opts)
	if err == nil {
		err = e.probe(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, t.Close())
	}
	return e, nil
}

func newEngine(t Transport, opts []Option) (*Engine, error) {
	o := options{log: slog.Default(), keep: retention}
	for _, opt := range opts {
		opt(&o)
	}
	if err := keys.CheckPrefix(o.prefix); err != nil {
		return nil, err
	}
	load := func(name string) *script { return loadScript(name, o.keep) }
	e := &Engine{
		t: t, prefix: o.prefix, keep: o.keep, log: o.log, client: rand.Text(),
		scripts: scripts{
			acquire: load("acquire"), enter: load("enter"), release: load("release"), renew: load("renew"), beat: load("beat"),
			note: load("note"), pass: load("pass"), look: load("look"),
		},
		sessions: make(map[*Session]struct{}), closed: make(chan struct{}), over: make(chan struct{}),
	}
	e.store = newStore(t, o.keep, e.closed)
	e.store.db = o.db
	e.bell = newBell(e)
	return e, nil
}

// probe makes the round trip that shows a wrong password, and that this user may
// use our channels: without them a script fails after it has changed a name.
func (e *Engine) probe(ctx context.Context) error {
	r := e.t.Do(ctx, Command{Args: []string{"PUBLISH", e.channel(), ""}})[0]
	return explain(r.Err)
}

// Info is what the engine can do.
func (e *Engine) Info() engine.Info {
	return engine.Info{
		Engine:      "redis",
		FIFO:        true,
		Store:       true,
		EveryChange: true,
		Kinds:       []engine.Kind{engine.Mutex, engine.ReadWrite, engine.Semaphore, engine.Election, engine.Group},
		FixedTerm:   true,
		Pass:        true,
		TokenOrder:  "name",
		MaxValue:    maxValue,
		MaxTx:       maxTx,
		Straggle:    straggle,
		Suspend:     true,
		Weaker: []string{
			"A server that lost its data, or whose clock stepped forward, may grant a lock that somebody still holds: " +
				"only tokens protect what is written then.",
			"A replica that takes over may not know the last grants: replication is asynchronous.",
		},
	}
}

// straggle is for how long a request that was given up is reckoned with: what a
// dead connection still carried may be read after what a new one brought. A claim
// that comes even later lives for one TTL, as nobody renews it.
const straggle = time.Second

// Store is the maps of this Redis.
func (e *Engine) Store() engine.Store { return prefixed{e.store, e.prefix} }

func (e *Engine) channel() string { return clientChannel + e.client }

// key is a name's key.
func (e *Engine) key(name string) string { return e.prefix + name }

// run runs a script, and explains what the server does not like.
func (e *Engine) run(ctx context.Context, s *script, keys []string, args ...string) (any, error) {
	if e.isOver() {
		return nil, engine.ErrClosed
	}
	v, err := run(ctx, e.t, call{s, keys, args})
	return v, e.explain(err)
}

// explain also knows that this engine has been closed.
func (e *Engine) explain(err error) error {
	if err != nil && e.isOver() {
		return engine.ErrClosed
	}
	return explain(err)
}

func (e *Engine) isOver() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

// Remove ends the claim whoever made it. Another program's is removed too: its id
// is what Line shows.
func (e *Engine) Remove(ctx context.Context, name string, id engine.ClaimID) error {
	keys := lineKeys(e.key(name))
	_, err := e.run(ctx, e.scripts.release, append(keys, removedKey(keys[0], id)), string(id)+marker, removeByForce)
	return err
}

// Close ends every wait and watch, and what the engine has of this machine.
func (e *Engine) Close() error {
	e.mu.Lock()
	already := e.isClosed
	e.isClosed = true
	e.mu.Unlock()
	if already {
		<-e.over
		return nil
	}
	defer close(e.over)
	close(e.closed)
	e.bell.close()
	e.store.wait()
	return e.t.Close()
}
