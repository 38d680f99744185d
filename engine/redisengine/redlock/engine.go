package redlock

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// MaxTTL is the longest TTL of a session and the longest fixed term here, unless
// [WithMaxTTL] makes it shorter: a node that restarted may have forgotten votes, and is
// kept out for so long. A session that asks for more is given this.
const MaxTTL = 5 * time.Minute

// Engine is one client of several independent Redis masters; it implements
// [engine.Engine].
type Engine struct {
	nodes   []*node
	inOrder []int
	opts    options
	client  string // whose channel tells of names that are free

	room waitRoom
	ears []*ear

	ctx     context.Context // of all that is asked; ends with Close
	cancel  context.CancelFunc
	closing chan struct{} // closed when Close begins
	over    chan struct{} // and when it has returned
	asides  sync.WaitGroup

	mu       sync.Mutex
	isClosed bool
	sessions map[*Session]struct{}
}

var errClosed = fmt.Errorf("redlock: %w", engine.ErrClosed)

// FromClients is an engine over rueidis clients that the caller has, one for each
// node, and closes after the engine. More is at [FromTransports].
func FromClients(ctx context.Context, clients []rueidis.Client, opts ...Option) (*Engine, error) {
	ts := make([]redisengine.Transport, len(clients))
	for i, c := range clients {
		if c == nil {
			return nil, fmt.Errorf("%w: redlock: no client for node %d", engine.ErrInvalid, i+1)
		}
		ts[i] = redisengine.NewTransport(c)
	}
	return FromTransports(ctx, ts, opts...)
}

// FromTransports is an engine over what carries requests to each node, one
// [redisengine.Transport] for each, such as goredis.NewTransport of a go-redis client
// that the caller has. The engine closes them, also where FromTransports fails; whose
// client is the caller's stays open.
//
// Every client of the same locks must be given the same nodes. They are masters that
// know nothing of each other.
//
// Errors: [engine.ErrInvalid]; [engine.ErrUnusable] where a majority refuses, with
// what would be right; else that a majority did not answer.
func FromTransports(ctx context.Context, ts []redisengine.Transport, opts ...Option) (*Engine, error) {
	e, err := newEngine(ts, opts)
	if err == nil {
		err = e.greet(ctx)
	}
	if err == nil {
		return e, nil
	}
	all := []error{err}
	if e != nil {
		return nil, errors.Join(err, e.Close())
	}
	for _, t := range ts {
		all = append(all, t.Close())
	}
	return nil, errors.Join(all...)
}

func newEngine(ts []redisengine.Transport, opts []Option) (*Engine, error) {
	o, err := chosen(opts)
	if err != nil {
		return nil, err
	}
	switch {
	case len(ts) == 0:
		return nil, fmt.Errorf("%w: redlock: no nodes", engine.ErrInvalid)
	case len(ts) > vote.MaxNodes:
		return nil, fmt.Errorf("%w: redlock: %d nodes; it may be %d, and 5 is usual", engine.ErrInvalid, len(ts), vote.MaxNodes)
	}
	e := &Engine{
		opts: o, client: rand.Text(), closing: make(chan struct{}), over: make(chan struct{}), sessions: make(map[*Session]struct{}),
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	for i, t := range ts {
		name := fmt.Sprintf("%d", i+1)
		if i < len(o.names) {
			name = o.names[i]
		}
		e.nodes = append(e.nodes, &node{name: name, t: t, up: o.mustHaveRun(), guard: o.prefix + keys.Root("redlock") + "guard"})
		e.inOrder = append(e.inOrder, i)
		e.ears = append(e.ears, newEar(e, i))
	}
	return e, nil
}

// greet makes the round trip that shows wrong passwords and missing permissions.
func (e *Engine) greet(ctx context.Context) error {
	if n := len(e.nodes); n < 3 {
		e.opts.log.Warn("lockstep: redlock of less than three nodes survives the loss of none", "nodes", n)
	}
	all := vote.All(len(e.nodes))
	well, away, errs := 0, []error(nil), []error(nil)
	err := e.gather(ctx, e.ask(all, greetTimeout, "", one(call{theScripts.look, nameKeys(e.opts.prefix + "."), nil})), all, func(a answer) bool {
		_, err := a.first()
		var out *keptOutError
		if err == nil || errors.As(err, &out) {
			if out != nil {
				away = append(away, out)
			}
			well++
			return false
		}
		errs = append(errs, e.blame(a.node, err))
		return false
	})
	if err != nil {
		return err
	}
	if well < vote.Majority(len(e.nodes)) {
		return tooFew(len(e.nodes), well, errs)
	}
	for _, err := range append(away, errs...) {
		e.opts.log.Warn("lockstep: redlock: a node takes no part now", "why", err)
	}
	return nil
}

const greetTimeout = 5 * time.Second

// tooFew says that no majority could be asked, and why. It is unusable only where a
// majority says so.
func tooFew(nodes, answered int, errs []error) error {
	unusable, texts := 0, make([]string, 0, len(errs))
	for _, err := range errs {
		texts = append(texts, err.Error())
		if errors.Is(err, engine.ErrUnusable) {
			unusable++
		}
	}
	why := fmt.Sprintf("redlock: %d of %d nodes answered, and a majority is %d: %s",
		answered, nodes, vote.Majority(nodes), strings.Join(texts, "; "))
	if unusable >= vote.Majority(nodes) {
		return fmt.Errorf("%w: %s", engine.ErrUnusable, why)
	}
	return errors.New(why)
}

// Info is what the engine can do.
func (e *Engine) Info() engine.Info {
	info := engine.Info{
		Engine:     "redlock",
		Kinds:      []engine.Kind{engine.Mutex, engine.Election},
		FixedTerm:  true,
		MaxTerm:    e.opts.maxTTL,
		TokenOrder: "name",
		Straggle:   straggle,
		Suspend:    true,
		Weaker: []string{
			"Clocks of a majority that step forward, or a majority that loses its data, may grant a lock that somebody still holds: " +
				"only tokens protect what is written then.",
			"Who waits is told first come, first served by each node, but nodes may differ, and another may be faster.",
		},
	}
	if n := len(e.nodes); n < 3 {
		info.Weaker = append(info.Weaker, fmt.Sprintf("%d nodes survive the loss of none.", n))
	}
	return info
}

// straggle is for how long a request that was given up is reckoned with.
const straggle = time.Second

// Store is none: only locks live here.
func (e *Engine) Store() engine.Store { return nil }

// CheckName refuses what cannot be a name here: braces that are not one hash tag, and
// what could be a sibling's key.
func (e *Engine) CheckName(name string) (string, error) {
	if err := keys.Check(e.opts.prefix, name); err != nil {
		return "", err
	}
	return name, nil
}

// key is a name's key.
func (e *Engine) key(name string) string { return e.opts.prefix + name }

func (e *Engine) all() vote.Set { return vote.All(len(e.nodes)) }

func (e *Engine) isOver() bool {
	select {
	case <-e.closing:
		return true
	default:
		return false
	}
}

// nodeTimeout is how long a node may take to answer what concerns a claim of ttl.
func (e *Engine) nodeTimeout(ttl time.Duration) time.Duration {
	if e.opts.timeout > 0 {
		return e.opts.timeout
	}
	return min(max(ttl/4, 500*time.Millisecond), 4*time.Second)
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
	close(e.closing)
	e.flush()
	e.cancel()
	for _, ear := range e.ears {
		ear.close()
	}
	errs := make([]error, 0, len(e.nodes))
	for _, n := range e.nodes {
		errs = append(errs, n.t.Close())
	}
	e.asides.Wait()
	return errors.Join(errs...)
}
