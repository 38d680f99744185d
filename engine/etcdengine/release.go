package etcdengine

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// Release ends the claim by its own key (S3). Nobody else is asked or told: whoever
// waits for it watches that key.
func (s *Session) Release(ctx context.Context, c *engine.Claim) (bool, error) {
	sh, err := shapeOf(c)
	if err != nil {
		return false, err
	}
	if s.e.ctx.Err() != nil {
		return false, engine.ErrClosed
	}
	removed, err := s.release(ctx, c, sh)
	if removed {
		s.wake(c.ID) // an Acquire that came late and waits
	}
	return removed, err
}

func (s *Session) release(ctx context.Context, c *engine.Claim, sh shape) (bool, error) {
	rest := s.restOf(c, sh)
	key := s.e.dir(c.Name) + rest
	switch {
	case c.Kind == engine.Election:
		return s.releaseBound(ctx, key, clientv3.OpDelete(s.e.tokenKey(c.Name, rest)))
	case c.Term > 0:
		return s.releaseBound(ctx, key)
	}
	return s.leave(ctx, c, sh, key)
}

// leave removes the claim's key. Where another request for the claim may be under way, or
// another claim may have the key by then, it does so only as this claim's.
func (s *Session) leave(ctx context.Context, c *engine.Claim, sh shape, key string) (bool, error) {
	leaves := step{name: c.Name, then: []*pb.RequestOp{deleteKey(key)}}
	alone := !s.acquires(c.ID) && s.seats.leaving(c.ID)
	if !alone {
		leaves.conditions = sh.holdsID(key, c.ID)
	}
	r, err := s.e.step(ctx, leaves)
	if err != nil {
		s.seats.stays(c.ID)
		return false, err
	}
	s.seats.left(c, sh, alone)
	return r.GetSucceeded() && r.GetResponses()[0].GetResponseDeleteRange().GetDeleted() > 0, nil
}

// releaseBound also ends a term's own lease, which nothing is bound to any more.
func (s *Session) releaseBound(ctx context.Context, key string, others ...clientv3.Op) (bool, error) {
	own := clientv3.OpDelete(key, clientv3.WithPrevKV())
	r, err := s.e.txn(ctx, nil, append([]clientv3.Op{own}, others...), nil)
	if err != nil {
		return false, err
	}
	deleted := r.Responses[0].GetResponseDeleteRange()
	for _, kv := range deleted.GetPrevKvs() {
		if kv.GetLease() != 0 && kv.GetLease() != int64(s.lease) {
			_ = s.e.revoke(ctx, clientv3.LeaseID(kv.GetLease())) // else it ends by itself
		}
	}
	return deleted.GetDeleted() > 0, nil
}

// SetNote replaces the claim's note, if it is as it was seen just before: one that
// arrives late finds a later one.
func (s *Session) SetNote(ctx context.Context, c *engine.Claim, note []byte) error {
	sh, err := shapeOf(c)
	if err != nil {
		return err
	}
	dir := s.e.dir(c.Name)
	key := dir + s.restOf(c, sh)
	for {
		seen, err := s.e.get(ctx, key)
		if err != nil {
			return err
		}
		if own := contenders(dir, seen.Kvs); len(own) == 0 || own[0].id != c.ID {
			return fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
		}
		same := clientv3.Compare(clientv3.ModRevision(key), "=", seen.Kvs[0].GetModRevision())
		r, err := s.e.txn(ctx, []clientv3.Cmp{same}, []clientv3.Op{clientv3.OpPut(key, sh.value(c.ID, note), clientv3.WithIgnoreLease())}, nil)
		if err != nil || r.Succeeded {
			return err
		}
	}
}

// Pass is not for etcd: the order of a line is that of its keys' creation, which
// foreign clients read as well.
func (s *Session) Pass(context.Context, *engine.Claim, engine.ClaimID) error {
	return fmt.Errorf("%w: etcd passes a claim to nobody but the next in line", engine.ErrUnsupported)
}
