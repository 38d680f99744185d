package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// attempt is one Acquire: what is asked for, and where in the keys.
type attempt struct {
	s     *Session
	c     *engine.Claim
	shape shape
	dir   string // NAME/
	seat  string
	rest  string
	key   string // dir + rest
	w     *waiting
}

// Acquire enters the line and waits for the grant. The claim's key says its id and
// its session, so a repeat finds what an earlier call made, whether or not the caller
// is in doubt.
func (s *Session) Acquire(outer context.Context, c *engine.Claim, _ bool) (engine.Grant, error) {
	if err := c.Check(); err != nil {
		return engine.Grant{}, err
	}
	sh, err := shapeOf(c)
	if err != nil {
		return engine.Grant{}, err
	}
	if err := s.check(); err != nil {
		return engine.Grant{}, err
	}
	a := &attempt{s: s, c: c, shape: sh, dir: s.e.dir(c.Name), w: s.wait(c)}
	defer s.waitNoMore(a.w)
	at, calm := s.seats.take(c, sh)
	a.sit(at)
	g, err := a.acquire(outer, calm)
	if err != nil {
		err = s.why(outer, err)
		a.rise(err)
		return engine.Grant{}, err
	}
	return g, nil
}

func (a *attempt) sit(seat string) {
	a.seat, a.rest = seat, a.s.restAt(seat, a.shape)
	a.key = a.dir + a.rest
}

// rise is the end of an Acquire that was not granted.
func (a *attempt) rise(err error) {
	switch {
	case errors.Is(err, engine.ErrHeld), errors.Is(err, engine.ErrMismatch):
		a.s.seats.left(a.c, a.shape, a.s.seats.leaving(a.c.ID)) // nothing is there
	case engine.Definite(err):
		a.s.seats.drop(a.c.ID)
	default:
		a.s.seats.unsure(a.c, a.shape, a.seat)
	}
}

// why puts an Acquire's error right: an ended session is told before anything that
// follows from it.
func (s *Session) why(outer context.Context, err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound):
		s.end()
		return engine.ErrSessionEnded
	case s.ctx.Err() != nil:
		return s.over()
	case outer.Err() != nil:
		return outer.Err()
	case errors.Is(err, engine.ErrNotFound):
		return s.alone(outer, err)
	}
	return err
}

// alone is why a claim is gone: all of its session are, and nobody has heard of it yet
// (this process was stopped), or the claim alone was removed.
func (s *Session) alone(ctx context.Context, gone error) error {
	switch lives, _, err := s.look(ctx); {
	case err != nil:
		return err
	case lives:
		return gone
	}
	s.end()
	return engine.ErrSessionEnded
}

// acquire first takes a calm name without looking at its line.
func (a *attempt) acquire(outer context.Context, calm bool) (engine.Grant, error) {
	if calm && !a.c.Try && a.shape.kind == engine.Mutex {
		if v, err := a.enterAlone(outer); err != nil || v.granted {
			return engine.Grant{Token: engine.Token(v.token)}, err
		}
	}
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer context.AfterFunc(a.s.ctx, cancel)()
	found, err := a.enterAny(ctx)
	if err != nil {
		return engine.Grant{}, err
	}
	for !found.granted {
		if found, err = a.await(ctx, found); err != nil {
			return engine.Grant{}, err
		}
	}
	return a.grant(ctx, found)
}

// grant is the answer for a claim whose turn has come. Only now an election publishes
// its token, and a term gets a lease of its own.
func (a *attempt) grant(ctx context.Context, v view) (engine.Grant, error) {
	if a.c.Term > 0 {
		return a.bind(ctx, v)
	}
	if a.shape.kind != engine.Election || v.published {
		return engine.Grant{Token: engine.Token(v.token)}, nil
	}
	still := []*pb.Compare{createdAt(a.key, v.created)}
	r, err := a.s.e.step(ctx, step{name: a.c.Name, conditions: still, then: []*pb.RequestOp{a.publish()}})
	if err != nil {
		return engine.Grant{}, err
	}
	if !r.GetSucceeded() {
		return engine.Grant{}, a.gone()
	}
	return engine.Grant{Token: engine.Token(r.GetHeader().GetRevision())}, nil
}

// bind gives the claim a lease of its own, whose time begins now. A repeat finds that
// it has one.
func (a *attempt) bind(ctx context.Context, v view) (engine.Grant, error) {
	e := a.s.e
	asked := time.Now()
	lease, err := e.grant(ctx, a.c.Term)
	if err != nil {
		return engine.Grant{}, err
	}
	then := []clientv3.Op{clientv3.OpPut(a.key, "", clientv3.WithIgnoreValue(), clientv3.WithLease(lease.ID))}
	if a.shape.kind == engine.Election {
		then = append(then, clientv3.OpPut(e.tokenKey(a.c.Name, a.rest), "", clientv3.WithLease(lease.ID)))
	}
	still := clientv3.Compare(clientv3.CreateRevision(a.key), "=", v.created)
	unbound := clientv3.Compare(clientv3.LeaseValue(a.key), "=", a.s.lease)
	r, err := e.txn(ctx, []clientv3.Cmp{still, unbound}, then, []clientv3.Op{clientv3.OpGet(a.key)})
	switch {
	case errors.Is(err, rpctypes.ErrLeaseNotFound): // the term's own
		return engine.Grant{}, fmt.Errorf("the term of %v was over before it was granted", a.c.Term)
	case err != nil: // the lease ends by itself
		return engine.Grant{}, err
	case r.Succeeded:
		if isExclusive(a.shape.kind) {
			v.token = r.Header.GetRevision()
		}
		return engine.Grant{Token: engine.Token(v.token), Until: asked.Add(a.c.Term)}, nil
	}
	_ = e.revoke(ctx, lease.ID) // nothing is bound to it: else it ends by itself
	kvs := ranged(r, 0)
	if len(kvs) == 0 || kvs[0].GetCreateRevision() != v.created {
		return engine.Grant{}, a.gone()
	}
	return a.bound(ctx, v, clientv3.LeaseID(kvs[0].GetLease()))
}

// bound is the grant of a term that an earlier request began. What is left of it is
// told in whole seconds, rounded down.
func (a *attempt) bound(ctx context.Context, v view, id clientv3.LeaseID) (engine.Grant, error) {
	ctx, done := a.s.e.request(ctx)
	defer done()
	asked := time.Now()
	left, err := a.s.e.client.TimeToLive(ctx, id)
	switch {
	case err != nil:
		return engine.Grant{}, a.s.e.explain(ctx, err)
	case left.TTL < 0:
		return engine.Grant{}, a.gone()
	}
	return engine.Grant{Token: engine.Token(v.token), Until: asked.Add(min(seconds(left.TTL), a.c.Term))}, nil
}

// gone is the error of a claim that was in line and is no more.
func (a *attempt) gone() error {
	return fmt.Errorf("claim on %q: %w", a.c.Name, engine.ErrNotFound)
}
