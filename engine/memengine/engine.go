package memengine

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"

	"github.com/lockstep-go/lockstep/engine"
)

// maxValue is the longest value in bytes.
const maxValue = 1 << 20

// Engine is one handle on a [Service]; it implements [engine.Engine].
type Engine struct {
	service *Service
	close   sync.Once
	closed  chan struct{}
}

// New is an engine on a service of its own.
func New(opts ...Option) *Engine { return NewService(opts...).Engine() }

// Info is what the engine can do: everything.
func (e *Engine) Info() engine.Info {
	return engine.Info{
		Engine:      "memory",
		FIFO:        true,
		Store:       true,
		EveryChange: true,
		EveryTerm:   true,
		Kinds:       []engine.Kind{engine.Mutex, engine.ReadWrite, engine.Semaphore, engine.Election, engine.Group},
		FixedTerm:   true,
		Pass:        true,
		TokenOrder:  "engine",
		MaxValue:    maxValue,
		Weaker: []string{
			fmt.Sprintf("A repeated commit is recognised among the last %d commits only, should an hour see more.", maxCommits),
		},
	}
}

// CheckName takes every name as it is.
func (e *Engine) CheckName(name string) (string, error) { return name, nil }

// Begin starts a session. A TTL that is not positive is ErrInvalid.
func (e *Engine) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	if err := e.usable(ctx); err != nil {
		return nil, err
	}
	if o.TTL <= 0 {
		return nil, fmt.Errorf("%w: a TTL of %v", engine.ErrInvalid, o.TTL)
	}
	e.service.lock()
	defer e.service.unlock()
	return e.newSession(o), nil
}

// Line is the present line of a name.
func (e *Engine) Line(ctx context.Context, name string) (engine.Line, error) {
	if err := e.usable(ctx); err != nil {
		return engine.Line{}, err
	}
	e.service.lock()
	defer e.service.unlock()
	return e.service.lines[name].show(name, e.service.now()), nil
}

// Names yields the names that have a line as the iteration begins.
func (e *Engine) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if err := e.usable(ctx); err != nil {
			yield("", err)
			return
		}
		for _, name := range e.service.names(prefix) {
			if !yield(name, nil) {
				return
			}
		}
	}
}

func (s *Service) names(prefix string) []string {
	s.lock()
	defer s.unlock()
	var names []string
	for name := range s.lines {
		if strings.HasPrefix(name, prefix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Remove ends a claim whoever made it; its session is told.
func (e *Engine) Remove(ctx context.Context, name string, id engine.ClaimID) error {
	if err := e.usable(ctx); err != nil {
		return err
	}
	e.service.lock()
	defer e.service.unlock()
	c := e.service.find(name, id)
	if c == nil {
		return nil
	}
	if c.session != nil {
		c.session.tell(id, fmt.Errorf("claim on %q removed: %w", name, engine.ErrNotFound))
	}
	e.service.remove(c)
	return nil
}

// Store is the service's store.
func (e *Engine) Store() engine.Store { return store{e} }

// Close ends what waits through this handle. A session that was not ended lives
// on until its TTL runs out, as that of a client that vanished.
func (e *Engine) Close() error {
	e.close.Do(func() { close(e.closed) })
	return nil
}

func (e *Engine) isClosed() bool {
	select {
	case <-e.closed:
		return true
	default:
		return false
	}
}

func (e *Engine) usable(ctx context.Context) error {
	if e.isClosed() {
		return engine.ErrClosed
	}
	return ctx.Err()
}
