package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// store is the maps of an etcd seen through one engine; it implements [engine.Store].
// A map is the key NAME, its empty key, and the prefix NAME/. Revisions are etcd's.
type store Engine

// What a request may hold: etcd takes 1.5 MiB by default.
const (
	maxValue = 1 << 20
	maxTx    = maxValue + 256<<10
)

func (s *store) e() *Engine { return (*Engine)(s) }

// entryKey is where an entry lives.
func (s *store) entryKey(m, key string) string {
	if key == "" {
		return s.prefix + m
	}
	return s.prefix + m + "/" + key
}

// keyOf is the map's key that a key of etcd stands for.
func (s *store) keyOf(m, full string) (string, bool) {
	rest := strings.TrimPrefix(full, s.prefix+m)
	switch {
	case len(rest) == len(full):
		return "", false
	case rest == "":
		return "", true
	}
	key, ok := strings.CutPrefix(rest, "/")
	return key, ok && key != ""
}

// entryOf reads a key of the map; a claim is none, nor one of a name within it.
func (s *store) entryOf(m string, kv *mvccpb.KeyValue) (engine.Entry, bool) {
	key, ok := s.keyOf(m, string(kv.GetKey()))
	if !ok {
		return engine.Entry{}, false
	}
	if _, claim := contenderOf(kv, lastPart(string(kv.GetKey()))); claim {
		return engine.Entry{}, false
	}
	return engine.Entry{Key: key, Value: kv.GetValue(), Revision: engine.Revision(kv.GetModRevision())}, true
}

// Get is one entry, as a quorum has it.
func (s *store) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	r, err := s.e().get(ctx, s.entryKey(m, key))
	if err != nil {
		return engine.Entry{}, err
	}
	for _, kv := range r.Kvs {
		if e, ok := s.entryOf(m, kv); ok {
			return e, nil
		}
	}
	return engine.Entry{}, fmt.Errorf("key %q of map %q: %w", key, m, engine.ErrNotFound)
}

// Commit is one transaction. Its id is a key of its own, whose revision is the answer
// to a repeat.
func (s *store) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	if s.ctx.Err() != nil {
		return 0, engine.ErrClosed
	}
	c, err := s.prepare(m, tx)
	if err != nil {
		return 0, err
	}
	for {
		lease, err := s.records.lease(ctx, s.e(), tx.ID)
		if err != nil {
			return 0, err
		}
		r, err := s.e().txn(ctx, c.conditions, c.then(lease), c.otherwise)
		switch {
		case errors.Is(err, rpctypes.ErrLeaseNotFound) && s.records.forget(lease): // nothing was done
			continue
		case err != nil:
			return 0, err
		case r.Succeeded:
			return engine.Revision(r.Header.GetRevision()), nil
		}
		return c.refused(r)
	}
}

// commit is a Tx as a transaction.
type commit struct {
	m          string
	tx         engine.Tx
	record     string // the key of its id; "": none
	conditions []clientv3.Cmp
	changes    []clientv3.Op
	otherwise  []clientv3.Op // reads the record, then the keys of tx.If, then guarded
	guarded    []string
}

func (s *store) prepare(m string, tx engine.Tx) (*commit, error) {
	if n := len(tx.If) + len(tx.Put); n > maxOps {
		return nil, fmt.Errorf("%w: a commit of %d entries and conditions, etcd takes %d", engine.ErrInvalid, n, maxOps)
	}
	c := &commit{m: m, tx: tx}
	if tx.ID != "" {
		c.record = s.e().own("commits", strconv.Itoa(len(m)), m, tx.ID)
		c.must(clientv3.Compare(clientv3.CreateRevision(c.record), "=", 0), c.record)
	}
	for _, cond := range tx.If {
		key := s.entryKey(m, cond.Key)
		c.must(clientv3.Compare(clientv3.ModRevision(key), "=", int64(cond.Revision)), key)
	}
	for _, e := range tx.Put {
		if len(e.Value) > maxValue {
			return nil, fmt.Errorf("%w: value of %d bytes, the longest is %d", engine.ErrInvalid, len(e.Value), maxValue)
		}
		if err := s.change(c, s.entryKey(m, e.Key), e); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func (c *commit) must(cond clientv3.Cmp, key string) {
	c.conditions = append(c.conditions, cond)
	c.otherwise = append(c.otherwise, clientv3.OpGet(key, keysOnly))
}

// change adds one write. A foreign claim has the form of many a key: what is written
// or deleted there must not be bound to a lease of that name.
func (s *store) change(c *commit, key string, e engine.Entry) error {
	last := lastPart(key)
	if _, ok := parseRest(last); ok {
		return fmt.Errorf("%w: key %.80q ends in the form of a claim's key", engine.ErrInvalid, e.Key)
	}
	if isLease(last) && strings.Contains(key, "/") {
		id, err := strconv.ParseInt(last, 16, 64)
		if err == nil && id > 0 {
			c.guarded = append(c.guarded, e.Key)
			c.must(clientv3.Compare(clientv3.LeaseValue(key), "!=", clientv3.LeaseID(id)), key)
		}
	}
	if e.Deleted {
		c.changes = append(c.changes, clientv3.OpDelete(key))
	} else {
		c.changes = append(c.changes, clientv3.OpPut(key, string(e.Value)))
	}
	return nil
}

func (c *commit) then(lease clientv3.LeaseID) []clientv3.Op {
	if c.record == "" {
		return c.changes
	}
	return append(slices.Clip(c.changes), clientv3.OpPut(c.record, "", clientv3.WithLease(lease)))
}

// refused is the answer as it was to the same id, or says which condition failed.
func (c *commit) refused(r *clientv3.TxnResponse) (engine.Revision, error) {
	i := 0
	if c.record != "" {
		if kvs := ranged(r, 0); len(kvs) > 0 {
			return engine.Revision(kvs[0].GetModRevision()), nil
		}
		i++
	}
	for _, cond := range c.tx.If {
		var is engine.Revision
		if kvs := ranged(r, i); len(kvs) > 0 {
			is = engine.Revision(kvs[0].GetModRevision())
		}
		if is != cond.Revision {
			return 0, fmt.Errorf("key %q of map %q is at revision %d, not %d: %w", cond.Key, c.m, is, cond.Revision, engine.ErrConflict)
		}
		i++
	}
	return 0, &engine.MismatchError{Name: c.m, Detail: fmt.Sprintf("another program's lock is at one of the keys %q", c.guarded)}
}

// records has the leases that ids of commits are bound to, so that they go by
// themselves an hour after. A lease takes the ids of one minute, as all that is bound
// to one goes in one step.
type records struct {
	asking chan struct{} // holds one: a commit asks for the next, others wait for it

	mu    sync.Mutex
	id    clientv3.LeaseID
	until time.Time
}

const (
	retention     = time.Hour
	recordsWindow = time.Minute
)

// lease is the one for a commit that is made now; none for one without an id.
func (r *records) lease(ctx context.Context, e *Engine, txID string) (clientv3.LeaseID, error) {
	if txID == "" {
		return clientv3.NoLease, nil
	}
	if id, ok := r.current(); ok {
		return id, nil
	}
	ctx, done := e.request(ctx)
	defer done()
	select {
	case r.asking <- struct{}{}:
		defer func() { <-r.asking }()
	case <-ctx.Done():
		return clientv3.NoLease, e.explain(ctx, ctx.Err())
	}
	if id, ok := r.current(); ok {
		return id, nil
	}
	now := time.Now()
	granted, err := e.grant(ctx, retention+2*recordsWindow)
	if err != nil {
		return clientv3.NoLease, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.id, r.until = granted.ID, now.Add(recordsWindow)
	return r.id, nil
}

func (r *records) current() (clientv3.LeaseID, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.id, r.id != clientv3.NoLease && time.Now().Before(r.until)
}

// forget drops a lease that the server no longer has: this machine was suspended, or
// somebody revoked it. It reports whether there was one.
func (r *records) forget(id clientv3.LeaseID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.id == id {
		r.id = clientv3.NoLease
	}
	return id != clientv3.NoLease
}
