package lockstep

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Client is one program's access to an engine. It is safe for concurrent use.
// It begins a session with its first claim, renews it until Close, and begins
// another one where a session was lost.
type Client struct {
	eng   engine.Engine
	owned bool // Close closes eng
	info  engine.Info
	opts  clientOptions
	clock clock

	beginning chan struct{} // holds one element while somebody begins a session

	mu       sync.Mutex // never held across a call to the engine or the user
	session  *session   // nil: none yet, or the last one was lost
	terms    map[*Lease]struct{}
	watches  map[string]*upstream
	swept    time.Time // when old records were last looked for
	closed   bool
	closedCh chan struct{} // closed once Close has returned

	running tracker        // functions of Do
	tasks   sync.WaitGroup // goroutines of this client
	ctx     context.Context
	stop    context.CancelCauseFunc
}

// Open connects to the engine behind url and makes one round trip, so that a
// wrong address or password fails here. d opens the schemes that the program
// may use: one engine's Driver, or several as engine.Drivers. Close the client.
//
// Errors: [ErrInvalid] for a URL or option that can never work,
// [ErrUnavailable], or the context's own.
func Open(ctx context.Context, url string, d engine.Driver, opts ...Option) (*Client, error) {
	if d == nil {
		return nil, fmt.Errorf("lockstep: open: %w", invalidf("no driver"))
	}
	target, err := ParseURL(url)
	if err != nil {
		return nil, fmt.Errorf("lockstep: open: %w", err)
	}
	o, err := newClientOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("lockstep: open: %w", err)
	}
	eng, err := engine.Drivers{d}.Open(ctx, target)
	if err != nil {
		return nil, fmt.Errorf("lockstep: open %s: %w", target.Scheme, classify(ctx, err))
	}
	c := newClient(eng, o)
	c.owned = true
	return c, nil
}

// New makes a client over an engine that the caller closes after the client.
func New(e engine.Engine, opts ...Option) (*Client, error) {
	if e == nil {
		return nil, fmt.Errorf("lockstep: new: %w", invalidf("no engine"))
	}
	o, err := newClientOptions(opts)
	if err != nil {
		return nil, fmt.Errorf("lockstep: new: %w", err)
	}
	return newClient(e, o), nil
}

func newClient(e engine.Engine, o clientOptions) *Client {
	info := e.Info()
	c := &Client{
		eng: e, info: info, opts: o, clock: newClock(info.Suspend),
		beginning: make(chan struct{}, 1), closedCh: make(chan struct{}),
		terms: map[*Lease]struct{}{}, watches: map[string]*upstream{},
	}
	if k, ok := e.(engine.Clock); ok {
		c.clock.wall = k.Now
	}
	c.ctx, c.stop = context.WithCancelCause(context.Background())
	return c
}

// Info is what the engine can do.
func (c *Client) Info() engine.Info { return c.info }

// TTL is what this client asks of its engine; an engine may grant another.
func (c *Client) TTL() time.Duration { return c.opts.ttl }

// Line is who holds a name and who waits, as the engine has it now.
func (c *Client) Line(ctx context.Context, name string) (Line, error) {
	full, err := c.canonical(name)
	if err != nil {
		return Line{}, failed("line of", name, err)
	}
	line, err := c.eng.Line(ctx, full)
	line.Name = name
	return line, failed("line of", name, classify(ctx, err))
}

// Names yields every name that somebody holds or waits for and that begins with
// prefix, in any order; names of Lockstep's own are left out. It ends after the
// first error.
func (c *Client) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for full, err := range c.eng.Names(ctx, c.opts.prefix+prefix) {
			if err != nil {
				yield("", failed("names", prefix, classify(ctx, err)))
				return
			}
			if name, ok := strings.CutPrefix(full, c.opts.prefix); ok && !isOwn(full) && !yield(name, nil) {
				return
			}
		}
	}
}

// Remove ends a claim whoever made it, held or waiting, and lets the next in:
// release by force. Its holder learns of it at its next renewal, so two may act
// until then; only tokens protect what they write. No such claim is no error.
func (c *Client) Remove(ctx context.Context, name string, id ClaimID) error {
	full, err := c.canonical(name)
	if err != nil {
		return failed("remove from", name, err)
	}
	return failed("remove from", name, classify(ctx, c.eng.Remove(ctx, full, id)))
}

// current is the session that lives, begun if need be. Only one goroutine
// begins; the others wait for it, or for their context.
func (c *Client) current(ctx context.Context) (*session, error) {
	if s, lives, err := c.living(); lives || err != nil {
		return s, err
	}
	select {
	case c.beginning <- struct{}{}:
		defer func() { <-c.beginning }()
	case <-ctx.Done():
		return nil, ended(ctx)
	case <-c.ctx.Done():
		return nil, ErrClosed
	}
	if s, lives, err := c.living(); lives || err != nil {
		return s, err
	}
	return c.begin(ctx)
}

func (c *Client) living() (s *session, lives bool, err error) {
	c.mu.Lock()
	s, closed := c.session, c.closed
	c.mu.Unlock()
	if closed {
		return nil, false, ErrClosed
	}
	return s, s != nil && s.alive(), nil
}

func (c *Client) begin(ctx context.Context) (*session, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	s := newSession(c)
	begun := c.clock.instant()
	es, err := c.eng.Begin(ctx, engine.SessionOptions{TTL: c.opts.ttl, Lost: s.told})
	if err != nil {
		if c.ctx.Err() != nil {
			return nil, ErrClosed
		}
		return nil, classify(ctx, err)
	}
	s.start(es, begun)
	c.mu.Lock()
	closed := c.closed
	if !closed {
		c.session = s
		c.tasks.Go(s.upkeep)
	}
	c.mu.Unlock()
	if closed {
		close(s.done) // upkeep never began
		return nil, errors.Join(ErrClosed, s.close(ErrClosed))
	}
	return s, nil
}

// dropped forgets a session that was lost; the next claim begins another.
func (c *Client) dropped(s *session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == s {
		c.session = nil
	}
}

// background runs f as one of the client's goroutines, unless it is closed.
// f's context ends with the client.
func (c *Client) background(f func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.tasks.Go(func() { f(c.ctx) })
	return true
}

// Close releases everything that the client holds, fixed terms excepted, ends
// its watches and its session, and waits for its goroutines. The functions of
// Do get their context's end first and some time to return: the margin of the
// trust window. After Close every call returns [ErrClosed].
//
// An error says that the engine could not be told: what was held then ends with
// the session's TTL.
func (c *Client) Close() error {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		<-c.closedCh
		return nil
	}
	c.closed = true
	s, terms := c.session, c.terms
	c.session, c.terms = nil, nil
	c.mu.Unlock()
	defer close(c.closedCh)

	for l := range terms {
		l.end(ErrClosed)
	}
	c.stop(ErrClosed)         // watches, withdrawals, a session being begun
	c.beginning <- struct{}{} // and stays there: no other begins
	var err error
	if s != nil {
		err = s.close(ErrClosed)
	}
	c.tasks.Wait()
	if c.owned {
		err = errors.Join(err, c.eng.Close())
	}
	if err != nil {
		return fmt.Errorf("lockstep: close: %w", err)
	}
	return nil
}

// tracker counts what runs and can be waited for with a limit.
type tracker struct {
	mu    sync.Mutex
	n     int
	empty chan struct{} // closed when n falls to 0; nil: nobody waits
}

func (t *tracker) add() {
	t.mu.Lock()
	t.n++
	t.mu.Unlock()
}

func (t *tracker) done() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n--; t.n == 0 && t.empty != nil {
		close(t.empty)
		t.empty = nil
	}
}

func (t *tracker) wait(limit time.Duration) {
	t.mu.Lock()
	if t.n == 0 {
		t.mu.Unlock()
		return
	}
	if t.empty == nil {
		t.empty = make(chan struct{})
	}
	empty := t.empty
	t.mu.Unlock()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-empty:
	case <-timer.C:
	}
}
