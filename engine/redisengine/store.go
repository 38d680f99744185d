package redisengine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// store is the maps of one Redis. A map is three keys in one slot, its entries, a
// log of its last commits and a record (lua/map_record.lua), and for an hour one
// more for each commit. A commit is one script; reading needs a script only where
// two keys must be seen at one time.
type store struct {
	t       Transport
	db      int // of the server's databases, which share its channels
	closed  <-chan struct{}
	commit  *script
	look    *script
	list    *script
	watches sync.WaitGroup // what watches have running
}

func newStore(t Transport, keep time.Duration, closed <-chan struct{}) *store {
	return &store{
		t: t, closed: closed,
		commit: loadScript("map_commit", keep), look: loadScript("map_look", keep), list: loadScript("map_list", keep),
	}
}

// channel is where a map's commits are told.
func (s *store) channel(m string) string { return mapChannel + strconv.Itoa(s.db) + ":" + m }

// wait is for who has closed the store: it returns when nothing of it runs.
func (s *store) wait() { s.watches.Wait() }

// prefixed is the store of an engine with a prefix; it implements [engine.Store].
type prefixed struct {
	*store
	prefix string
}

func (p prefixed) List(ctx context.Context, m string) (engine.Event, error) {
	return p.store.List(ctx, p.prefix+m)
}

func (p prefixed) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	return p.store.Get(ctx, p.prefix+m, key)
}

func (p prefixed) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	return p.store.Commit(ctx, p.prefix+m, tx)
}

func (p prefixed) Watch(ctx context.Context, m string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return p.store.Watch(ctx, p.prefix+m, after)
}

// What a map takes. A commit's bytes are those of its keys and values: the server
// does nothing else while it is carried out.
const (
	maxValue = 1 << 20
	maxTx    = 16 << 20
)

func mapKeys(m string) []string {
	r := root(m)
	return []string{r + "map", r + "log", r + "rev"}
}

// Get is one entry.
func (s *store) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	answer, err := s.do(ctx, "HGET", mapKeys(m)[0], key)
	if err != nil {
		return engine.Entry{}, err
	}
	text, ok := answer.v.(string)
	if !ok {
		return engine.Entry{}, fmt.Errorf("key %q of map %q: %w", key, m, engine.ErrNotFound)
	}
	return parseEntry(key, text)
}

// Commit does all of tx or nothing.
func (s *store) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	if err := checkTx(tx); err != nil {
		return 0, err
	}
	answer, err := s.run(ctx, s.commitCall(m, tx))
	if err != nil {
		return 0, err
	}
	if i := int(answer.int(0)); i > 0 && i <= len(tx.If) {
		c := tx.If[i-1]
		return 0, fmt.Errorf("key %q of map %q is at revision %s, not %d: %w", c.Key, m, answer.text(1), c.Revision, engine.ErrConflict)
	}
	return parseRevision(answer.text(0))
}

func checkTx(tx engine.Tx) error {
	size := 0
	for _, e := range tx.Put {
		size += len(e.Key) + len(e.Value)
		if len(e.Value) > maxValue {
			return fmt.Errorf("%w: value of %d bytes, the longest is %d", engine.ErrInvalid, len(e.Value), maxValue)
		}
	}
	if size > maxTx {
		return fmt.Errorf("%w: commit of %d bytes, the longest is %d", engine.ErrInvalid, size, maxTx)
	}
	return nil
}

func (s *store) commitCall(m string, tx engine.Tx) call {
	keys := mapKeys(m)
	if tx.ID != "" {
		keys = append(keys, root(m)+"tx:"+tx.ID)
	}
	args := make([]string, 0, 3+2*len(tx.If)+2*len(tx.Put))
	args = append(args, s.channel(m), strconv.Itoa(len(tx.If)), strconv.Itoa(len(tx.Put)))
	for _, c := range tx.If {
		args = append(args, c.Key, formatRevision(c.Revision))
	}
	for _, e := range tx.Put {
		if e.Deleted {
			args = append(args, deletes+e.Key, "")
		} else {
			args = append(args, writes+e.Key, string(e.Value))
		}
	}
	return call{s.commit, keys, args}
}

// run runs a script on a map.
func (s *store) run(ctx context.Context, c call) (reply, error) {
	if s.isClosed() {
		return reply{}, engine.ErrClosed
	}
	v, err := run(ctx, s.t, c)
	return reply{v}, s.explain(ctx, err)
}

// do is one command whose first argument is its only key.
func (s *store) do(ctx context.Context, args ...string) (reply, error) {
	if s.isClosed() {
		return reply{}, engine.ErrClosed
	}
	r := s.t.Do(ctx, Command{Args: args, FirstKey: 1})[0]
	return reply{r.Value}, s.explain(ctx, r.Err)
}

// explain says what the caller can act on. What was cut short by the end of ctx
// or of the engine ended for that reason, whatever the connection says.
func (s *store) explain(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case s.isClosed():
		return engine.ErrClosed
	case code(err) == "" && ctx.Err() != nil && !errors.Is(err, ctx.Err()):
		return errors.Join(ctx.Err(), err)
	}
	return explain(err)
}

func (s *store) isClosed() bool {
	select {
	case <-s.closed:
		return true
	default:
		return false
	}
}
