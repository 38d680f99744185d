package etcdengine

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// How a claim comes into a line: by one transaction, whatever the kind, unless it only
// tries, or finds what it does not know.

// enterAny enters the line as the claim's kind does, in a seat that is free.
func (a *attempt) enterAny(ctx context.Context) (view, error) {
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
	for errors.Is(err, errSeatTaken) {
		a.sit(a.s.seats.move(a.c.ID))
		found, err = enter(ctx)
	}
	return found, err
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

// put makes the claim's key.
func (a *attempt) put() *pb.RequestOp {
	return putKey(a.key, a.shape.value(a.c.ID, a.c.Note), a.s.lease)
}

// publish makes the key of an election's token.
func (a *attempt) publish() *pb.RequestOp {
	return putKey(a.s.e.tokenKey(a.c.Name, a.rest), "", a.s.lease)
}

// take is what makes the claim and, of an election, publishes its token.
func (a *attempt) take() []*pb.RequestOp {
	if a.shape.kind == engine.Election {
		return []*pb.RequestOp{a.put(), a.publish()}
	}
	return []*pb.RequestOp{a.put()}
}

// notMade and nobody are conditions: this claim has no key; no key is in the range
// of the line's, be it a claim's or not.
func (a *attempt) notMade() *pb.Compare { return createdAt(a.key, 0) }

func (a *attempt) nobody() *pb.Compare {
	none := createdAt(firstKey(a.dir), 0)
	none.RangeEnd = []byte(endKey(a.dir))
	return none
}

// noneSince: no key of the line's range was made after a revision.
func (a *attempt) noneSince(rev int64) *pb.Compare {
	earlier := createdAt(firstKey(a.dir), rev+1)
	earlier.Result, earlier.RangeEnd = pb.Compare_LESS, []byte(endKey(a.dir))
	return earlier
}

// taken is the view of a claim that found the line empty. published: and an election's
// token is known.
func taken(r *pb.TxnResponse, published bool) view {
	rev := r.GetHeader().GetRevision()
	return view{granted: true, published: published, token: rev, created: rev}
}

// enterAlone takes a free name. It is the cheapest that there is; where somebody is in
// line, it has done nothing.
func (a *attempt) enterAlone(outer context.Context) (view, error) {
	ctx, done := a.s.e.requestOf(outer, a.s)
	defer done()
	r, err := a.s.e.step(ctx, step{name: a.c.Name, conditions: []*pb.Compare{a.nobody()}, then: []*pb.RequestOp{a.put()}})
	if err != nil || !r.GetSucceeded() {
		return view{}, err
	}
	return taken(r, false), nil
}

// enterExclusive enters the line, and reads the last in it, in one transaction. Where
// there is one, it is what the claim waits for. Its kind is the line's, unless it is
// about to withdraw: then whoever is behind it meets the line's as it goes.
func (a *attempt) enterExclusive(ctx context.Context) (view, error) {
	r, err := a.enter(ctx, readLine(a.dir, pb.RangeRequest_DESCEND, 1))
	if err != nil {
		return view{}, err
	}
	if !r.GetSucceeded() { // it was made before: by a request in doubt
		return a.find(ctx)
	}
	rev, found := r.GetHeader().GetRevision(), r.GetResponses()[0].GetResponseRange()
	if found.GetCount() == 0 {
		return taken(r, false), nil
	}
	a.s.seats.crowd(a.c.ID)
	last, _ := fromKeys(a.dir, found.GetKvs())
	if !a.follows(last) {
		return a.lookAtLine(ctx)
	}
	return view{created: rev, blocker: a.behind(last[0]), next: found.GetCount() == 1}, nil
}

// enter makes the claim's key, and reads the line before it.
func (a *attempt) enter(ctx context.Context, line *pb.RequestOp) (*pb.TxnResponse, error) {
	return a.s.e.step(ctx, step{name: a.c.Name, conditions: []*pb.Compare{a.notMade()}, then: []*pb.RequestOp{line, a.put()}})
}

// follows reports whether the last in line, which is all that was read, is all that there
// is to know: not where something else is in the range, a foreign claim or another kind's.
func (a *attempt) follows(last []contender) bool {
	return len(last) > 0 && mismatch(a.c.Name, last[0], a.shape) == nil
}

// fits withdraws a claim that does not fit the line's first contender (S11): then
// nothing is left.
func (a *attempt) fits(ctx context.Context, first contender) error {
	err := mismatch(a.c.Name, first, a.shape)
	if err == nil {
		return nil
	}
	if failed := a.withdraw(ctx); failed != nil {
		return failed
	}
	return err
}

// withdraw takes the claim back that this Acquire, or one before it, made.
func (a *attempt) withdraw(ctx context.Context) error {
	_, err := a.s.e.step(ctx, step{name: a.c.Name, conditions: a.shape.holdsID(a.key, a.c.ID), then: []*pb.RequestOp{deleteKey(a.key)}})
	return err
}

// tryExclusive takes a free name, and leaves nothing where it is not.
func (a *attempt) tryExclusive(ctx context.Context) (view, error) {
	holder := readLine(a.dir, pb.RangeRequest_ASCEND, 1)
	holder.GetRequestRange().KeysOnly = false
	r, err := a.s.e.step(ctx, step{
		name: a.c.Name, conditions: []*pb.Compare{a.nobody()}, then: a.take(), otherwise: []*pb.RequestOp{holder},
	})
	if err != nil {
		return view{}, err
	}
	if r.GetSucceeded() {
		return taken(r, true), nil
	}
	line := contenders(a.dir, r.GetResponses()[0].GetResponseRange().GetKvs())
	switch {
	case len(line) == 0: // something else is in the range
		return a.tryLine(ctx)
	case line[0].id == a.c.ID:
		return a.find(ctx)
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
		same := []*pb.Compare{a.noneSince(r.Header.GetRevision()), a.notMade()}
		made, err := a.s.e.step(ctx, step{name: a.c.Name, conditions: same, then: a.take()})
		if err != nil {
			return view{}, err
		}
		if made.GetSucceeded() {
			return taken(made, true), nil
		}
		if _, err := a.seated(ctx); err != nil {
			return view{}, err
		}
	}
}

// refuse takes a claim back that is in line though it was only to try: its caller
// had been in doubt, and it waits.
func (a *attempt) refuse(ctx context.Context, line []contender) (view, error) {
	if err := a.withdraw(ctx); err != nil {
		return view{}, err
	}
	return view{}, &engine.HeldError{Line: show(a.c.Name, line[:granted(line)], nil)}
}

// enterLine enters the line of a kind that shares, and reads it, in one transaction.
// A group is never full: its first contender is enough.
func (a *attempt) enterLine(ctx context.Context) (view, error) {
	limit := int64(0)
	if a.shape.kind == engine.Group {
		limit = 1
	}
	r, err := a.enter(ctx, readLine(a.dir, pb.RangeRequest_ASCEND, limit))
	if err != nil {
		return view{}, err
	}
	if !r.GetSucceeded() {
		return a.find(ctx)
	}
	kvs, rev := r.GetResponses()[0].GetResponseRange().GetKvs(), r.GetHeader().GetRevision()
	line, sure := fromKeys(a.dir, kvs)
	if !sure || len(line) == 0 && len(kvs) > 0 { // something else is in the range, or a foreign claim
		return a.lookAtLine(ctx)
	}
	if len(line) > 0 {
		if err := a.fits(ctx, line[0]); err != nil {
			return view{}, err
		}
	}
	line = append(line, contender{rest: a.rest, shape: a.shape, seat: a.seat, id: a.c.ID, created: rev})
	return a.viewOf(line, len(line)-1, rev), nil
}
