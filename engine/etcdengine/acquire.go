package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"time"

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
	rest  string
	key   string // dir + rest
	w     *waiting
}

// Acquire enters the line and waits for the grant. The claim's key holds its id and
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
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	defer context.AfterFunc(s.ctx, cancel)()
	a := &attempt{s: s, c: c, shape: sh, dir: s.e.dir(c.Name), rest: s.restOf(c, sh), w: s.wait(c)}
	defer s.waitNoMore(a.w)
	a.key = a.dir + a.rest
	g, err := a.acquire(ctx)
	if err != nil {
		return engine.Grant{}, s.why(outer, err)
	}
	return g, nil
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

func (a *attempt) acquire(ctx context.Context) (engine.Grant, error) {
	enter := a.enterLine
	switch {
	case a.c.Try && isExclusive(a.shape.kind):
		enter = a.tryExclusive
	case a.c.Try:
		enter = a.tryLine
	case isExclusive(a.shape.kind):
		enter = a.enterExclusive
	}
	found, err := enter(ctx)
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

// view is what a look at the line found.
type view struct {
	granted   bool
	published bool  // the token's key was written in the same step
	token     int64 // the revision at which this was so, or at which the claim was made
	created   int64 // of the claim's own key
	blocker   blocker
	next      bool // nothing but the blocker was in line before it
}

// put is the request that makes the claim's key.
func (a *attempt) put() clientv3.Op {
	return clientv3.OpPut(a.key, string(a.c.Note), clientv3.WithLease(a.s.lease))
}

// take is what makes the claim and, of an election, publishes its token.
func (a *attempt) take() []clientv3.Op {
	if a.shape.kind == engine.Election {
		return []clientv3.Op{a.put(), a.publish()}
	}
	return []clientv3.Op{a.put()}
}

func (a *attempt) publish() clientv3.Op {
	return clientv3.OpPut(a.s.e.tokenKey(a.c.Name, a.rest), "", clientv3.WithLease(a.s.lease))
}

// notMade and nobody are conditions: this claim has no key; no key is in the range
// of the line's, be it a claim's or not.
func (a *attempt) notMade() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(a.key), "=", 0)
}

func (a *attempt) nobody() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(firstKey(a.dir)), "=", 0).WithRange(endKey(a.dir))
}

// taken is the view of a claim that found the line empty.
func taken(r *clientv3.TxnResponse) view {
	rev := r.Header.GetRevision()
	return view{granted: true, published: true, token: rev, created: rev}
}

// enterExclusive takes a free name, or enters its line, in one transaction. There it
// reads the first in line, whose kind rules, and the last, which it waits for.
func (a *attempt) enterExclusive(ctx context.Context) (view, error) {
	queue := clientv3.OpTxn([]clientv3.Cmp{a.notMade()}, []clientv3.Op{
		inLine(a.dir, byCreation, one, keysOnly), inLine(a.dir, newest, one, keysOnly),
		a.put(),
	}, nil)
	r, err := a.s.e.txn(ctx, []clientv3.Cmp{a.nobody()}, a.take(), []clientv3.Op{queue})
	if err != nil {
		return view{}, err
	}
	if r.Succeeded {
		return taken(r), nil
	}
	in := (*clientv3.TxnResponse)(r.Responses[0].GetResponseTxn())
	if !in.Succeeded { // it was made before: by a request in doubt
		return a.look(ctx, 0)
	}
	first, _ := fromKeys(a.dir, ranged(in, 0))
	last, _ := fromKeys(a.dir, ranged(in, 1))
	if len(first) == 0 || len(last) == 0 { // something else is in the range, or a foreign claim
		return a.lookAtLine(ctx)
	}
	if err := a.fits(ctx, first[0]); err != nil {
		return view{}, err
	}
	alone := in.Responses[0].GetResponseRange().GetCount() == 1 // of all in the range
	return view{created: r.Header.GetRevision(), blocker: a.behind(last[0]), next: alone}, nil
}

// fits withdraws a claim that does not fit the line's first contender (S11): then
// nothing is left.
func (a *attempt) fits(ctx context.Context, first contender) error {
	err := mismatch(a.c.Name, first, a.shape)
	if err == nil {
		return nil
	}
	if _, failed := a.s.e.txn(ctx, nil, []clientv3.Op{clientv3.OpDelete(a.key)}, nil); failed != nil {
		return failed
	}
	return err
}

// tryExclusive takes a free name, and leaves nothing where it is not.
func (a *attempt) tryExclusive(ctx context.Context) (view, error) {
	holder := inLine(a.dir, byCreation, one)
	r, err := a.s.e.txn(ctx, []clientv3.Cmp{a.nobody()}, a.take(), []clientv3.Op{holder})
	if err != nil {
		return view{}, err
	}
	if r.Succeeded {
		return taken(r), nil
	}
	line := contenders(a.dir, ranged(r, 0))
	switch {
	case len(line) == 0: // something else is in the range
		return a.tryLine(ctx)
	case line[0].rest == a.rest:
		return a.look(ctx, 0)
	}
	if err := mismatch(a.c.Name, line[0], a.shape); err != nil {
		return view{}, err
	}
	return view{}, &engine.HeldError{Line: show(a.c.Name, line, nil)}
}

// tryLine looks, and enters only if that is granted at once and nobody came in
// between: a refused claim leaves nothing, also if this process ends here.
func (a *attempt) tryLine(ctx context.Context) (view, error) {
	for {
		r, err := a.s.e.txn(ctx, nil, []clientv3.Op{inLine(a.dir, byCreation)}, nil)
		if err != nil {
			return view{}, err
		}
		line := contenders(a.dir, ranged(r, 0))
		if i := a.indexIn(line); i >= 0 {
			if i < granted(line) {
				return a.viewOf(line, i, r.Header.GetRevision()), nil
			}
			return a.refuse(ctx, line)
		}
		if len(line) > 0 {
			if err := mismatch(a.c.Name, rules(line), a.shape); err != nil {
				return view{}, err
			}
		}
		if me := (contender{shape: a.shape}); granted(append(line, me)) <= len(line) {
			return view{}, &engine.HeldError{Line: show(a.c.Name, line, nil)}
		}
		same := clientv3.Compare(clientv3.CreateRevision(firstKey(a.dir)), "<", r.Header.GetRevision()+1).WithRange(endKey(a.dir))
		if r, err = a.s.e.txn(ctx, []clientv3.Cmp{same, a.notMade()}, a.take(), nil); err != nil {
			return view{}, err
		}
		if r.Succeeded {
			return taken(r), nil
		}
	}
}

// refuse takes a claim back that is in line though it was only to try: its caller
// had been in doubt, and it waits.
func (a *attempt) refuse(ctx context.Context, line []contender) (view, error) {
	if _, err := a.s.e.txn(ctx, nil, []clientv3.Op{clientv3.OpDelete(a.key)}, nil); err != nil {
		return view{}, err
	}
	return view{}, &engine.HeldError{Line: show(a.c.Name, line[:granted(line)], nil)}
}

// enterLine enters the line of a kind that shares, and reads it, in one transaction.
// A group is never full: its first contender is enough.
func (a *attempt) enterLine(ctx context.Context) (view, error) {
	opts := []clientv3.OpOption{byCreation, keysOnly}
	if a.shape.kind == engine.Group {
		opts = append(opts, one)
	}
	r, err := a.s.e.txn(ctx, []clientv3.Cmp{a.notMade()}, []clientv3.Op{inLine(a.dir, opts...), a.put()}, nil)
	if err != nil {
		return view{}, err
	}
	if !r.Succeeded {
		return a.look(ctx, 0)
	}
	line, sure := fromKeys(a.dir, ranged(r, 0))
	if !sure || len(line) == 0 && len(ranged(r, 0)) > 0 { // something else is in the range, or a foreign claim
		return a.lookAtLine(ctx)
	}
	if len(line) > 0 {
		if err := a.fits(ctx, line[0]); err != nil {
			return view{}, err
		}
	}
	line = append(line, contender{rest: a.rest, shape: a.shape, id: a.c.ID, created: r.Header.GetRevision()})
	return a.viewOf(line, len(line)-1, r.Header.GetRevision()), nil
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
	r, err := a.s.e.txn(ctx, []clientv3.Cmp{a.still(v)}, []clientv3.Op{a.publish()}, nil)
	if err != nil {
		return engine.Grant{}, err
	}
	if !r.Succeeded {
		return engine.Grant{}, a.gone()
	}
	return engine.Grant{Token: engine.Token(r.Header.GetRevision())}, nil
}

// still: the claim is the one that was seen.
func (a *attempt) still(v view) clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(a.key), "=", v.created)
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
	unbound := clientv3.Compare(clientv3.LeaseValue(a.key), "=", a.s.lease)
	r, err := e.txn(ctx, []clientv3.Cmp{a.still(v), unbound}, then, []clientv3.Op{clientv3.OpGet(a.key)})
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
	removed, err := s.release(ctx, c, s.restOf(c, sh))
	if removed {
		s.wake(c.ID) // an Acquire that came late and waits
	}
	return removed, err
}

func (s *Session) release(ctx context.Context, c *engine.Claim, rest string) (bool, error) {
	key := s.e.dir(c.Name) + rest
	switch {
	case c.Kind == engine.Election:
		return s.releaseBound(ctx, key, clientv3.OpDelete(s.e.tokenKey(c.Name, rest)))
	case c.Term > 0:
		return s.releaseBound(ctx, key)
	}
	ctx, done := s.e.request(ctx)
	defer done()
	r, err := s.e.client.Delete(ctx, key)
	if err != nil {
		return false, s.e.explain(ctx, err)
	}
	return r.Deleted > 0, nil
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
	key := s.e.dir(c.Name) + s.restOf(c, sh)
	for {
		seen, err := s.e.get(ctx, key, keysOnly)
		if err != nil {
			return err
		}
		if len(seen.Kvs) == 0 {
			return fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound)
		}
		same := clientv3.Compare(clientv3.ModRevision(key), "=", seen.Kvs[0].GetModRevision())
		r, err := s.e.txn(ctx, []clientv3.Cmp{same}, []clientv3.Op{clientv3.OpPut(key, string(note), clientv3.WithIgnoreLease())}, nil)
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
