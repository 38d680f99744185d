package redisengine

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
)

// rueidisTransport is a [Transport] over rueidis, which pipelines what goroutines
// send at the same time by itself. Its retries are for read-only commands, and
// it takes none of ours for one.
type rueidisTransport struct {
	client rueidis.Client
	owned  bool
	asides sync.WaitGroup // what nobody waits for but Close

	// connected: a reply has come, and no failure since. Only then does rueidis obey
	// contexts: while it connects, it knows nothing but its time-outs.
	connected atomic.Bool

	mu       sync.Mutex
	closed   bool
	channels map[string]*listeners
}

// listeners are the Subscribes of one channel. rueidis ends all of them with one
// UNSUBSCRIBE, so the last to leave sends it, and who comes meanwhile waits.
type listeners struct {
	n    int
	gone chan struct{} // not nil: UNSUBSCRIBE is under way; closed after it
}

func (t *rueidisTransport) Do(ctx context.Context, commands ...Command) []Result {
	if t.connected.Load() || ctx.Done() == nil {
		return t.send(ctx, commands)
	}
	done := make(chan []Result, 1)
	if !t.aside(func() { done <- t.send(ctx, commands) }) {
		return failed(commands, rueidis.ErrClosing)
	}
	select {
	case results := <-done:
		return results
	case <-ctx.Done():
		return failed(commands, ctx.Err())
	}
}

// one is Do of one command.
func (t *rueidisTransport) one(ctx context.Context, c Command) Result {
	if t.connected.Load() {
		return t.sendOne(ctx, c)
	}
	return t.Do(ctx, c)[0]
}

func failed(commands []Command, err error) []Result {
	results := make([]Result, len(commands))
	for i := range results {
		results[i].Err = err
	}
	return results
}

// aside runs f in a goroutine that Close waits for, unless it has begun.
func (t *rueidisTransport) aside(f func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	t.asides.Go(f)
	return true
}

// send sends commands.
func (t *rueidisTransport) send(ctx context.Context, commands []Command) []Result {
	if len(commands) == 1 {
		return []Result{t.sendOne(ctx, commands[0])}
	}
	built := make([]rueidis.Completed, len(commands))
	for i, c := range commands {
		built[i] = t.build(c)
	}
	results := make([]Result, len(commands))
	for i, r := range t.client.DoMulti(cancellable(ctx), built...) {
		results[i] = t.result(r)
	}
	t.note(ctx, results[len(results)-1].Err)
	return results
}

func (t *rueidisTransport) sendOne(ctx context.Context, c Command) Result {
	r := t.result(t.client.Do(cancellable(ctx), t.build(c)))
	t.note(ctx, r.Err)
	return r
}

// undated is a context that does not say when it will end. Where one says so, rueidis
// sends in the caller's goroutine and gives the connection that deadline: it then
// does not see that the context has ended before.
type undated struct{ context.Context }

// Deadline says that there is none.
func (undated) Deadline() (deadline time.Time, ok bool) { return deadline, false }

func cancellable(ctx context.Context) context.Context {
	if _, dated := ctx.Deadline(); dated {
		return undated{ctx}
	}
	return ctx
}

// note notes whether a server answered.
func (t *rueidisTransport) note(ctx context.Context, err error) {
	switch {
	case err == nil || code(err) != "":
		if !t.connected.Load() {
			t.connected.Store(true)
		}
	case ctx.Err() == nil:
		t.connected.Store(false)
	}
}

// build names one key: all of a command's keys are in one slot.
func (t *rueidisTransport) build(c Command) rueidis.Completed {
	b := t.client.B().Arbitrary(c.Args[0])
	if c.FirstKey == 0 {
		return b.Args(c.Args[1:]...).Build()
	}
	return b.Args(c.Args[1:c.FirstKey]...).Keys(c.Args[c.FirstKey]).Args(c.Args[c.FirstKey+1:]...).Build()
}

func (t *rueidisTransport) result(r rueidis.RedisResult) Result {
	v, err := r.ToAny()
	return Result{plain(v), fromRueidis(err)}
}

// plain makes a map what it is without RESP3: a list of keys and values.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		pairs := make([]any, 0, 2*len(v))
		for k, e := range v {
			pairs = append(pairs, k, plain(e))
		}
		return pairs
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	}
	return v
}

// fromRueidis leaves nil replies to the caller: they are values here.
func fromRueidis(err error) error {
	if err == nil || rueidis.IsRedisNil(err) {
		return nil
	}
	if e, ok := errors.AsType[*rueidis.RedisError](err); ok {
		return &ServerError{Text: e.Error()}
	}
	return err
}

func (t *rueidisTransport) Subscribe(ctx context.Context, channel string, up func(), message func(string)) error {
	if err := t.join(ctx, channel); err != nil {
		return err
	}
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "subscribe" {
			up()
		}
	})
	done := make(chan error, 1)
	listens := t.aside(func() {
		err := t.client.Receive(hooked, t.client.B().Subscribe().Channel(channel).Build(), func(m rueidis.PubSubMessage) {
			message(m.Message)
		})
		t.part(channel, ctx.Err() != nil)
		done <- fromRueidis(err)
	})
	if !listens {
		t.part(channel, false)
		return rueidis.ErrClosing
	}
	select {
	case err := <-done:
		if ctx.Err() == nil {
			t.connected.Store(false)
		}
		return err
	case <-ctx.Done(): // Receive ends as well, or when it has given up to connect
		return ctx.Err()
	}
}

func (t *rueidisTransport) join(ctx context.Context, channel string) error {
	for {
		t.mu.Lock()
		l := t.channels[channel]
		if l == nil {
			l = &listeners{}
			if t.channels == nil {
				t.channels = make(map[string]*listeners)
			}
			t.channels[channel] = l
		}
		gone := l.gone
		if gone == nil {
			l.n++
		}
		t.mu.Unlock()
		if gone == nil {
			return nil
		}
		select {
		case <-gone:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// part leaves a channel, by itself or with the connection that broke.
func (t *rueidisTransport) part(channel string, byItself bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	l := t.channels[channel]
	if l.n--; l.n > 0 {
		return
	}
	if !byItself || t.closed {
		delete(t.channels, channel)
		return
	}
	l.gone = make(chan struct{})
	t.asides.Go(func() {
		t.unsubscribe(channel)
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.channels, channel)
		close(l.gone)
	})
}

// unsubscribe tells the server that nobody listens: rueidis leaves the
// subscription on the connection when a context ends. Where it cannot be told, the
// connection ends.
func (t *rueidisTransport) unsubscribe(channel string) {
	ctx, cancel := context.WithTimeout(context.Background(), defaultTimeout)
	defer cancel()
	t.client.Do(ctx, t.client.B().Unsubscribe().Channel(channel).Build())
}

func (t *rueidisTransport) Close() error {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	if t.owned {
		t.client.Close()
	}
	t.asides.Wait()
	return nil
}
