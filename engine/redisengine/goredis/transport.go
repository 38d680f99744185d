package goredis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-go/lockstep/engine/redisengine"
)

// transport is a [redisengine.Transport] over go-redis.
//
// go-redis sends a command again, up to MaxRetries (3) times, when the connection
// broke or timed out while it waited for the answer (its error.go, shouldRetry;
// for a pipeline as well): by then the server may have carried it out, and a lock
// would have been taken twice, or given back twice. It asks each command whether
// that may be done (Cmder.NoRetry), and ours say no: so the caller's client, its
// pool and its hooks can be used as they are.
//
// go-redis looks at a context before it sends, and at its deadline if asked to;
// one that is cancelled while an answer is awaited is not noticed. So a call is
// made by a goroutine, and whoever asked goes when the context ends. The goroutine
// lasts until the answer or the read timeout; Close waits for it.
//
// Each call has a connection of the pool for itself: what is asked later may be
// carried out earlier. That matters where a caller gave up, and now takes back
// what it asked for: a release that overtakes its acquire leaves a lock that
// nobody holds. So a call waits for those on its key that were abandoned.
type transport struct {
	client    *redis.Client
	closed    context.Context
	shut      context.CancelFunc
	pingEvery time.Duration // subscribe.go

	mu        sync.Mutex
	isShut    bool
	calls     sync.WaitGroup // added to with mu held
	abandoned map[string][]*pending
}

// pending is a call under way.
type pending struct {
	commands []redisengine.Command
	results  []redisengine.Result
	done     chan struct{} // closed when results are there
}

var _ redisengine.Transport = (*transport)(nil)

var errClosed = errors.New("the engine has been closed")

// once is a command that is never sent again.
type once struct{ *redis.Cmd }

func (once) NoRetry() bool { return true }

// Do sends commands in one pipeline.
func (t *transport) Do(ctx context.Context, commands ...redisengine.Command) []redisengine.Result {
	if err := t.afterAbandoned(ctx, commands); err != nil {
		return failed(len(commands), err)
	}
	p := &pending{commands: commands, done: make(chan struct{})}
	if !t.begin(func() { t.carryOut(ctx, p) }) {
		return failed(len(commands), errClosed)
	}
	select {
	case <-p.done:
		return p.results
	case <-ctx.Done():
		t.abandon(p)
		return failed(len(commands), ctx.Err())
	case <-t.closed.Done():
		return failed(len(commands), errClosed)
	}
}

func (t *transport) carryOut(ctx context.Context, p *pending) {
	p.results = t.send(ctx, p.commands)
	t.mu.Lock()
	defer t.mu.Unlock()
	close(p.done)
	for _, c := range p.commands {
		t.forget(keyOf(c), p)
	}
}

// keyOf is a command's first key; "": it has none.
func keyOf(c redisengine.Command) string {
	if c.FirstKey == 0 {
		return ""
	}
	return c.Args[c.FirstKey]
}

// abandon has later calls on the keys of this one wait for it.
func (t *transport) abandon(p *pending) {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-p.done:
		return
	default:
	}
	for _, c := range p.commands {
		if key := keyOf(c); key != "" {
			t.abandoned[key] = append(t.abandoned[key], p)
		}
	}
}

func (t *transport) forget(key string, p *pending) {
	rest := slices.DeleteFunc(t.abandoned[key], func(other *pending) bool { return other == p })
	if len(rest) == 0 {
		delete(t.abandoned, key)
		return
	}
	t.abandoned[key] = rest
}

// afterAbandoned waits until no abandoned call is under way on any of these keys.
func (t *transport) afterAbandoned(ctx context.Context, commands []redisengine.Command) error {
	for {
		p := t.inTheWay(commands)
		if p == nil {
			return ctx.Err()
		}
		select {
		case <-p.done:
		case <-ctx.Done():
			return ctx.Err()
		case <-t.closed.Done():
			return errClosed
		}
	}
}

func (t *transport) inTheWay(commands []redisengine.Command) *pending {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.abandoned) == 0 {
		return nil
	}
	for _, c := range commands {
		if earlier := t.abandoned[keyOf(c)]; len(earlier) > 0 {
			return earlier[0]
		}
	}
	return nil
}

// begin runs f in a goroutine that Close waits for; false: it is too late.
func (t *transport) begin(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.isShut {
		return false
	}
	t.calls.Go(f)
	return true
}

func failed(n int, err error) []redisengine.Result {
	results := make([]redisengine.Result, n)
	for i := range results {
		results[i].Err = err
	}
	return results
}

// send waits for the answers.
func (t *transport) send(ctx context.Context, commands []redisengine.Command) []redisengine.Result {
	cmds := make([]once, len(commands))
	for i, c := range commands {
		args := make([]any, len(c.Args))
		for j, a := range c.Args {
			args[j] = a
		}
		cmds[i] = once{redis.NewCmd(ctx, args...)}
	}
	if len(cmds) == 1 {
		_ = t.client.Process(ctx, cmds[0]) // the command has the error, too
		return []redisengine.Result{result(ctx, cmds[0])}
	}
	pipe := t.client.Pipeline()
	for _, c := range cmds {
		_ = pipe.Process(ctx, c)
	}
	_, _ = pipe.Exec(ctx) // the first command's error that there is: each has its own
	results := make([]redisengine.Result, len(cmds))
	for i, c := range cmds {
		results[i] = result(ctx, c)
	}
	return results
}

func result(ctx context.Context, c once) redisengine.Result {
	if err := c.Err(); err != nil {
		return redisengine.Result{Err: translate(ctx, err)}
	}
	return redisengine.Result{Value: plain(c.Val())}
}

// translate tells what the server answered from what happened on the way. A nil
// reply is no error here.
func translate(ctx context.Context, err error) error {
	if err == nil || errors.Is(err, redis.Nil) {
		return nil
	}
	if e, ok := errors.AsType[redis.Error](err); ok {
		return &redisengine.ServerError{Text: e.Error()}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// plain is a reply as a Transport has it: nil, an int64, a string or a []any of
// these. RESP3 has more, of which a map becomes its names and values in turn.
func plain(v any) any {
	switch v := v.(type) {
	case nil, int64, string:
		return v
	case bool:
		if v {
			return int64(1)
		}
		return int64(0)
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
		return v
	case map[any]any:
		flat := make([]any, 0, 2*len(v))
		for name, value := range v {
			flat = append(flat, plain(name), plain(value))
		}
		return flat
	case error: // inside of an array
		return v.Error()
	}
	return fmt.Sprint(v)
}

// Close ends the calls under way. The client stays its owner's.
func (t *transport) Close() error {
	t.mu.Lock()
	t.isShut = true
	t.mu.Unlock()
	t.shut()
	t.calls.Wait()
	return nil
}
