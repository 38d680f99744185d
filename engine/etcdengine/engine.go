package etcdengine

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// Engine is one client of one etcd; it implements [engine.Engine].
type Engine struct {
	client   *clientv3.Client
	owned    bool // Close closes it
	leases   pb.LeaseClient
	kv       pb.KVClient
	prefix   string
	timeout  time.Duration
	straggle time.Duration
	records  records
	calls    calls
	steps    steps

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup // what belongs to sessions
	close   sync.Once
}

// Option changes how an engine works.
type Option func(*Engine)

// WithKeyPrefix puts this in front of every key, that of a lock's name included.
func WithKeyPrefix(prefix string) Option { return func(e *Engine) { e.prefix = prefix } }

// WithTimeout is how long one request may take: 4 s. What is known after it is
// nothing, and the request may still be carried out.
func WithTimeout(d time.Duration) Option { return func(e *Engine) { e.timeout = d } }

const defaultTimeout = 4 * time.Second

// FromClient is an engine over a client that the caller has, and closes after the
// engine. It makes one round trip. Errors: [engine.ErrUnusable] for a user without
// the permissions that it needs.
//
// The client should notice a member that died without a word: DialKeepAliveTime of
// 10 s is what a URL sets. And it should dial one that was away soon again: by itself
// grpc pauses for 1 s, then for longer, up to 2 minutes, and until then nothing is
// renewed and no watch goes on. A URL sets, in DialOptions, [grpc.WithConnectParams]
// with a BaseDelay of 50 ms, a Multiplier of 1.6, a Jitter of 0.2 and a MaxDelay of
// 500 ms. It also sets [grpc.WithStaticStreamWindowSize] (1 MiB) and
// [grpc.WithStaticConnWindowSize] (4 MiB), which spare a ping for each reply.
//
// A prefix that the client's KV was wrapped in (package namespace) is not heeded: pass
// [WithKeyPrefix].
func FromClient(ctx context.Context, c *clientv3.Client, opts ...Option) (*Engine, error) {
	if c == nil {
		return nil, fmt.Errorf("%w: no client", engine.ErrInvalid)
	}
	e := newEngine(c, opts)
	if err := e.probe(ctx); err != nil {
		return nil, err
	}
	return e, nil
}

func newEngine(c *clientv3.Client, opts []Option) *Engine {
	wire := c.ActiveConnection()
	e := &Engine{client: c, leases: pb.NewLeaseClient(wire), kv: pb.NewKVClient(wire), timeout: defaultTimeout}
	for _, opt := range opts {
		opt(e)
	}
	e.straggle = 2 * e.timeout
	e.steps.delay = stepDelay
	e.records.asking = make(chan struct{}, 1)
	e.ctx, e.cancel = context.WithCancel(context.Background())
	return e
}

// probe makes the round trip that shows a wrong password, and that a quorum answers.
func (e *Engine) probe(ctx context.Context) error {
	ctx, done := e.request(ctx)
	defer done()
	_, err := e.client.Get(ctx, e.own("layout"))
	return e.explain(ctx, err)
}

// Info is what the engine can do.
func (e *Engine) Info() engine.Info {
	return engine.Info{
		Engine:      "etcd",
		FIFO:        true,
		Store:       true,
		EveryChange: true,
		Kinds:       []engine.Kind{engine.Mutex, engine.ReadWrite, engine.Semaphore, engine.Election, engine.Group},
		FixedTerm:   true,
		TokenOrder:  "name",
		MaxValue:    maxValue,
		MaxTx:       maxTx,
		MaxOps:      maxOps,
		Straggle:    e.straggle,
		Suspend:     true,
		Weaker: []string{
			"A cluster that was restored from a backup counts revisions from there again: tokens repeat unless it was restored " +
				"with --bump-revision.",
		},
	}
}

// CheckName takes every name but those that cannot be told from a claim of another
// name: one whose last part has a claim's form.
func (e *Engine) CheckName(name string) (string, error) {
	if _, ok := parseRest(lastPart(name)); ok {
		return "", fmt.Errorf("%w: name %.80q ends in the form of a claim's key", engine.ErrInvalid, name)
	}
	return name, nil
}

// Store is the maps of this etcd.
func (e *Engine) Store() engine.Store { return (*store)(e) }

// Close ends every wait and watch, and the client where the engine opened it.
func (e *Engine) Close() error {
	var err error
	e.close.Do(func() {
		e.cancel()
		e.calls.endOf(nil)
		e.steps.close()
		e.running.Wait()
		if e.owned {
			err = e.client.Close()
		}
	})
	return err
}

// lasting is a context for what waits: it ends with Close as well, and where the
// member that serves a watch has lost its leader the watch ends.
func (e *Engine) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(clientv3.WithRequireLeader(ctx))
	stop := context.AfterFunc(e.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// txn carries out one transaction.
func (e *Engine) txn(ctx context.Context, conditions []clientv3.Cmp, then, otherwise []clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, done := e.request(ctx)
	defer done()
	r, err := e.client.Txn(ctx).If(conditions...).Then(then...).Else(otherwise...).Commit()
	if err != nil {
		return nil, e.explain(ctx, err)
	}
	return r, nil
}

// own is a key of what Lockstep alone reads. Names do not begin with a dot.
func (e *Engine) own(parts ...string) string { return e.prefix + ownRoot + strings.Join(parts, "/") }
