package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// A renewal is three requests, whatever the number of claims: one keep-alive, and then
// at the same time one list of what is bound to the lease and one linearizable read of
// the session's key.
//
// The keep-alive alone proves nothing: before 3.5.3 a leader that was deposed, and
// does not know it, answers too. So does a list. The read needs a quorum, so its
// raft term is that of a leader who was one after the keep-alive; if the keep-alive
// was answered in the same term, then by that leader. The window then runs from when
// Renew was called, by the core's own clock.
//
// The list is the audit: it comes from the leader's memory, which may lag behind what
// another member has answered. What is missing from it is therefore asked for by name.

// Renew prolongs the lease, and says which claims are gone.
func (s *Session) Renew(ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
	if err := s.check(); err != nil {
		return engine.Renewal{}, err
	}
	called := time.Now()
	busy := s.busy()
	alive, err := s.keepAlive(ctx)
	if err != nil {
		return engine.Renewal{}, err
	}
	var keys map[string]bool
	var listed error
	var listing sync.WaitGroup
	listing.Go(func() { keys, listed = s.bound(ctx) })
	err = s.confirm(ctx, alive.GetHeader().GetRaftTerm())
	listing.Wait()
	if err != nil {
		return engine.Renewal{}, err
	}
	s.proof.Store(&called)
	if listed != nil {
		return engine.Renewal{}, listed
	}
	lost, err := s.audit(ctx, claims, busy, keys, called)
	if err != nil {
		return engine.Renewal{}, err
	}
	s.seats.forget(called.Add(-s.e.straggle - s.ttl))
	return engine.Renewal{TTL: seconds(alive.GetTTL()), Lost: lost}, nil
}

// insist repeats a request that one member does not answer: the next goes to another.
func (s *Session) insist(ctx context.Context, ask func(context.Context) error) error {
	for patience := max(s.ttl/12, 100*time.Millisecond); ; patience *= 2 {
		once, done := context.WithTimeout(ctx, patience)
		err := ask(once)
		late := once.Err() != nil
		done()
		switch {
		case err == nil || !late || ctx.Err() != nil || s.ctx.Err() != nil:
			return s.e.interruptedBy(ctx, err)
		case patience > s.e.timeout:
			return errTimeout(patience)
		}
	}
}

// interruptedBy is explain for requests with contexts of their own.
func (e *Engine) interruptedBy(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	return e.explain(ctx, err)
}

// keepAlive sends one keep-alive. The client's own keeps its send times to itself.
func (s *Session) keepAlive(ctx context.Context) (alive *pb.LeaseKeepAliveResponse, err error) {
	err = s.insist(ctx, func(ctx context.Context) error {
		alive, err = s.e.keepAliveOnce(ctx, int64(s.lease))
		return err
	})
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound), err == nil && alive.GetTTL() <= 0:
		return nil, s.vanished(ctx)
	case err != nil:
		return nil, err
	}
	return alive, nil
}

func (e *Engine) keepAliveOnce(ctx context.Context, id int64) (*pb.LeaseKeepAliveResponse, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // the stream's end
	stream, err := e.leases.LeaseKeepAlive(ctx)
	if err != nil {
		return nil, rpctypes.Error(err)
	}
	if err := stream.Send(&pb.LeaseKeepAliveRequest{ID: id}); err != nil {
		return nil, rpctypes.Error(err)
	}
	r, err := stream.Recv()
	if err != nil {
		return nil, rpctypes.Error(err)
	}
	return r, nil
}

// vanished: a leader does not know the lease. One that lags behind may not know it
// yet: the session's key tells.
func (s *Session) vanished(ctx context.Context) error {
	lives, _, err := s.look(ctx)
	switch {
	case err != nil:
		return err
	case lives:
		return errors.New("etcd: the leader does not know the session's lease, whose key is there: it is asked again")
	}
	s.end()
	return engine.ErrSessionEnded
}

// bound are the keys that are bound to the lease.
func (s *Session) bound(ctx context.Context) (map[string]bool, error) {
	var r *clientv3.LeaseTimeToLiveResponse
	err := s.insist(ctx, func(ctx context.Context) (err error) {
		r, err = s.e.client.TimeToLive(ctx, s.lease, clientv3.WithAttachedKeys())
		return err
	})
	if err != nil {
		return nil, err
	}
	keys := make(map[string]bool, len(r.Keys))
	for _, k := range r.Keys {
		keys[string(k)] = true
	}
	return keys, nil
}

// confirm makes the read that needs a quorum.
func (s *Session) confirm(ctx context.Context, term uint64) error {
	var r *clientv3.GetResponse
	err := s.insist(ctx, func(ctx context.Context) (err error) {
		r, err = s.e.client.Get(ctx, s.key, keysOnly)
		return err
	})
	switch {
	case err != nil:
		return err
	case len(r.Kvs) == 0:
		s.end()
		return engine.ErrSessionEnded
	case r.Header.GetRaftTerm() != term:
		return fmt.Errorf("etcd: the leader changed during the renewal (term %d, then %d): it is asked again", term, r.Header.GetRaftTerm())
	}
	return nil
}

// busy are the claims whose Acquire is asking for itself.
func (s *Session) busy() map[engine.ClaimID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ids map[engine.ClaimID]bool
	for id, all := range s.waiting {
		if slices.ContainsFunc(all, func(w *waiting) bool { return !w.asleep.Load() }) {
			if ids == nil {
				ids = make(map[engine.ClaimID]bool)
			}
			ids[id] = true
		}
	}
	return ids
}

// audit compares the keys with the claims. What it finds of a claim it takes out of
// keys; what stays there nobody knows.
func (s *Session) audit(ctx context.Context, claims []*engine.Claim, busy map[engine.ClaimID]bool,
	keys map[string]bool, called time.Time,
) ([]engine.ClaimID, error) {
	delete(keys, s.key)
	var missing []*engine.Claim
	for _, c := range claims {
		sh, err := shapeOf(c)
		if err != nil {
			continue
		}
		rest := s.restOf(c, sh)
		key := s.e.dir(c.Name) + rest
		if !keys[key] && !busy[c.ID] {
			missing = append(missing, c)
		}
		delete(keys, key)
		if c.Kind == engine.Election {
			delete(keys, s.e.tokenKey(c.Name, rest))
		}
	}
	lost, err := s.missing(ctx, missing)
	if err != nil {
		return nil, err
	}
	return lost, s.sweep(ctx, keys, called)
}

// maxOps is how many operations a transaction may have: etcd's limit is 128, and a
// commit's id takes one.
const maxOps = 127

// missing asks for claims by name. A term that was granted is bound to another lease.
func (s *Session) missing(ctx context.Context, claims []*engine.Claim) (lost []engine.ClaimID, err error) {
	keys := make([]string, len(claims))
	for i, c := range claims {
		sh, err := shapeOf(c)
		if err != nil {
			return nil, err
		}
		keys[i] = s.e.dir(c.Name) + s.restOf(c, sh)
	}
	made, err := s.made(ctx, keys)
	if err != nil {
		return nil, err
	}
	for i, c := range claims {
		if made[keys[i]] == 0 {
			s.seats.drop(c.ID)
			lost = append(lost, c.ID)
		}
	}
	return lost, nil
}

// made are the revisions that made these keys, where they are there.
func (s *Session) made(ctx context.Context, keys []string) (map[string]int64, error) {
	at := make(map[string]int64, len(keys))
	for batch := range slices.Chunk(keys, maxOps) {
		ops := make([]clientv3.Op, len(batch))
		for i, key := range batch {
			ops[i] = clientv3.OpGet(key, keysOnly)
		}
		r, err := s.e.txn(ctx, nil, ops, nil)
		if err != nil {
			return nil, err
		}
		for i, key := range batch {
			for _, kv := range ranged(r, i) {
				at[key] = kv.GetCreateRevision()
			}
		}
	}
	return at, nil
}

// ghost is a key that no claim was known for: which life of it, and since which Renew.
type ghost struct {
	created int64
	since   time.Time
}

// sweepsAtOnce is how many ghosts go with one renewal.
const sweepsAtOnce = maxOps / 2

// sweep removes keys that no claim was known for at two renewals, TTL/4 apart: ghosts,
// as a put that was delayed in a member that stood still, and came after its withdrawal.
// A key that is used again and again has another life each time.
func (s *Session) sweep(ctx context.Context, keys map[string]bool, called time.Time) error {
	maps.DeleteFunc(keys, func(key string, _ bool) bool { return !s.owns(key) })
	made, err := s.made(ctx, slices.Collect(maps.Keys(keys)))
	if err != nil {
		return err
	}
	old := s.haunted(made, called)
	if len(old) == 0 {
		return nil
	}
	_, err = s.e.txn(ctx, nil, old, nil)
	return err
}

// haunted notes what nobody knows, and removes what nobody has known for long.
func (s *Session) haunted(made map[string]int64, called time.Time) (old []clientv3.Op) {
	s.mu.Lock()
	defer s.mu.Unlock()
	maps.DeleteFunc(s.unknown, func(key string, g ghost) bool { return made[key] != g.created })
	for key, created := range made {
		g, seen := s.unknown[key]
		switch {
		case !seen:
			s.unknown[key] = ghost{created, called}
		case called.Sub(g.since) >= s.ttl/4 && len(old) < sweepsAtOnce:
			same := clientv3.Compare(clientv3.CreateRevision(key), "=", created)
			old = append(old, clientv3.OpTxn([]clientv3.Cmp{same}, []clientv3.Op{clientv3.OpDelete(key)}, nil))
		}
	}
	return old
}

// owns reports whether the key is one that a session makes: others may have bound
// theirs to the lease.
func (s *Session) owns(key string) bool {
	c, ok := parseRest(lastPart(key))
	return ok && c.session == s.hex && strings.HasPrefix(key, s.e.prefix)
}
