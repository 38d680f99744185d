package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// Session is one lease; it implements [engine.Session]. A key of its own is bound to
// the lease: one watch of it tells every waiter at once that the session is over
// (S5), and whoever removes one of its claims by force writes so into it.
type Session struct {
	e     *Engine
	lease clientv3.LeaseID
	hex   string
	key   string
	ttl   time.Duration
	lost  func(engine.ClaimID, error)

	ctx    context.Context // ends with the session
	cancel context.CancelCauseFunc
	ended  atomic.Bool               // told, or End has begun: what is gone then is not lost
	proof  atomic.Pointer[time.Time] // when the last renewal that succeeded was called

	seats *seats

	mu      sync.Mutex
	waiting map[engine.ClaimID][]*waiting
	unknown map[string]ghost // keys that no claim is known for
}

// waiting is an Acquire under way.
type waiting struct {
	id      engine.ClaimID
	asleep  atomic.Bool   // it asks nothing: what becomes of the claim, others must tell
	removed chan struct{} // holds one: somebody says that the claim is gone
}

// Begin grants a lease. The shortest that etcd grants is some 2 s.
func (e *Engine) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	if o.TTL <= 0 {
		return nil, fmt.Errorf("%w: a TTL of %v", engine.ErrInvalid, o.TTL)
	}
	called := time.Now()
	lease, err := e.grant(ctx, o.TTL)
	if err != nil {
		return nil, err
	}
	s := &Session{
		e: e, lease: lease.ID, hex: leaseText(int64(lease.ID)), ttl: seconds(lease.TTL), lost: o.Lost, seats: &seats{},
		waiting: map[engine.ClaimID][]*waiting{}, unknown: map[string]ghost{},
	}
	s.proof.Store(&called)
	s.key = e.sessionKey(s.hex)
	put, err := e.txn(ctx, nil, []clientv3.Op{clientv3.OpPut(s.key, sessionMark, clientv3.WithLease(s.lease))}, nil)
	if err != nil {
		_ = e.revoke(ctx, s.lease) // else it ends by itself
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancelCause(e.ctx)
	e.running.Go(func() { s.listen(put.Header.GetRevision() + 1) })
	return s, nil
}

// sessionMark is the value of a session's key; behind it stands the id of the claim that
// was removed last.
const sessionMark = "v1"

// seconds that etcd counts in.
func seconds(n int64) time.Duration { return time.Duration(n) * time.Second }

// grant is a lease of so long or a little longer.
func (e *Engine) grant(ctx context.Context, d time.Duration) (*clientv3.LeaseGrantResponse, error) {
	ctx, done := e.request(ctx)
	defer done()
	lease, err := e.client.Grant(ctx, int64((d+time.Second-1)/time.Second))
	if err != nil {
		return nil, e.explain(ctx, err)
	}
	return lease, nil
}

// revoke ends a lease with all that is bound to it. One that is gone is no error.
func (e *Engine) revoke(ctx context.Context, id clientv3.LeaseID) error {
	ctx, done := e.request(ctx)
	defer done()
	if _, err := e.client.Revoke(ctx, id); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		return e.explain(ctx, err)
	}
	return nil
}

// TTL is as granted.
func (s *Session) TTL() time.Duration { return s.ttl }

// proven: the server has not let the session's lease run out yet. The core knows that too,
// and of suspended time as well, and believes in no grant that comes later.
func (s *Session) proven() bool { return time.Since(*s.proof.Load()) < s.ttl*9/10 }

// check is before every call: an ended session refuses at once.
func (s *Session) check() error {
	if s.ctx.Err() != nil {
		return s.over()
	}
	return nil
}

// over is why the session's context has ended.
func (s *Session) over() error {
	if s.e.ctx.Err() != nil {
		return engine.ErrClosed
	}
	return context.Cause(s.ctx)
}

// end says that the session is over at the server.
func (s *Session) end() {
	s.stop()
	if !s.ended.Swap(true) && s.lost != nil {
		s.lost("", engine.ErrSessionEnded)
	}
}

// End revokes the lease: all claims go in one step, but for terms, which have leases
// of their own.
func (s *Session) End(ctx context.Context, _ []*engine.Claim) error {
	s.ended.Store(true)
	s.stop()
	return s.e.revoke(ctx, s.lease)
}

// stop ends what waits or asks for one of its claims.
func (s *Session) stop() {
	s.cancel(engine.ErrSessionEnded)
	s.e.calls.endOf(s)
}

// listen follows the session's key until the session ends.
func (s *Session) listen(from int64) {
	for s.ctx.Err() == nil {
		from = s.follow(from)
		pause(s.ctx, 50*time.Millisecond+rand.N(200*time.Millisecond))
	}
}

// follow watches from a revision to the first interruption, and says where to go on.
func (s *Session) follow(from int64) int64 {
	ctx, done := s.e.lasting(s.ctx)
	defer done()
	for r := range s.e.client.Watch(ctx, s.key, clientv3.WithRev(from)) {
		if r.CompactRevision > 0 { // it was cut off for long: what was told meanwhile is lost
			return s.lookAtKey(ctx, from)
		}
		if r.Err() != nil {
			return from
		}
		for _, ev := range r.Events {
			s.told(ev)
			from = ev.GetKv().GetModRevision() + 1
		}
	}
	return from
}

func (s *Session) lookAtKey(ctx context.Context, from int64) int64 {
	lives, rev, err := s.look(ctx)
	switch {
	case err != nil:
		return from
	case !lives:
		s.end()
	}
	return rev + 1
}

// look asks a quorum whether the session's key is there.
func (s *Session) look(ctx context.Context) (lives bool, rev int64, err error) {
	ctx, done := s.e.request(ctx)
	defer done()
	r, err := s.e.client.Get(ctx, s.key)
	if err != nil {
		return false, 0, s.e.explain(ctx, err)
	}
	return len(r.Kvs) > 0 && r.Kvs[0].GetLease() == int64(s.lease), r.Header.GetRevision(), nil
}

func (s *Session) told(ev *clientv3.Event) {
	if ev.GetType() == mvccpb.Event_DELETE {
		s.end()
		return
	}
	text, ok := strings.CutPrefix(string(ev.GetKv().GetValue()), sessionMark+" ")
	if !ok {
		return
	}
	id := engine.ClaimID(text)
	if s.wake(id) {
		return
	}
	s.seats.drop(id)
	if s.lost != nil {
		s.lost(id, fmt.Errorf("the claim was removed: %w", engine.ErrNotFound))
	}
}

// wake tells the Acquires of a claim that it was removed, and says whether there are any.
func (s *Session) wake(id engine.ClaimID) (found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.waiting[id] {
		select {
		case w.removed <- struct{}{}:
		default:
		}
	}
	return len(s.waiting[id]) > 0
}

func (s *Session) wait(c *engine.Claim) *waiting {
	w := &waiting{id: c.ID, removed: make(chan struct{}, 1)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting[c.ID] = append(s.waiting[c.ID], w)
	return w
}

// acquires reports whether an Acquire of the claim is under way.
func (s *Session) acquires(id engine.ClaimID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting[id]) > 0
}

func (s *Session) waitNoMore(w *waiting) {
	s.mu.Lock()
	defer s.mu.Unlock()
	others := slices.DeleteFunc(s.waiting[w.id], func(other *waiting) bool { return other == w })
	if s.waiting[w.id] = others; len(others) == 0 {
		delete(s.waiting, w.id)
	}
}

// pause returns early when ctx ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
