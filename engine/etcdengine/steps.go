package etcdengine

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// A step is the write by which a claim enters a line or leaves it. Each costs a round
// trip, an entry of etcd's log and a share of a sync; a process that makes many at a
// time sends those of several names as one transaction. A step goes at once while few
// are under way. Else it waits until one of these has returned, or a moment at most: a
// member that stands still must not hold up what others would answer.
//
// In that transaction each step is one of its own, and all have one revision. So no two
// are of one name, whose claims are told apart by revisions; and etcd, which judges all
// conditions before it does anything, judges each step's by what only others could change.

// Bounds of steps: how many transactions are under way before one waits, how many go in
// one, and how long one waits.
const (
	stepsAtOnce = 4
	stepsEach   = 32
	stepDelay   = 5 * time.Millisecond
)

// step changes nothing where its conditions fail. It is made of the wire's own messages:
// the client's copy each condition.
type step struct {
	name       string
	conditions []*pb.Compare
	then       []*pb.RequestOp
	otherwise  []*pb.RequestOp // reads

	done chan struct{} // closed when one of these is there:
	r    *pb.TxnResponse
	err  error
}

func (s *step) request() *pb.TxnRequest {
	return &pb.TxnRequest{Compare: s.conditions, Success: s.then, Failure: s.otherwise}
}

// steps are those of an engine.
type steps struct {
	delay time.Duration // stepDelay

	mu      sync.Mutex
	flying  int
	waiting []*step
	due     *time.Timer // of those that wait
	closed  bool
}

// step carries out one step. What became of it is not known after an error that is not
// definite, as after any request.
func (e *Engine) step(ctx context.Context, s step) (*pb.TxnResponse, error) {
	ctx, done := e.request(ctx)
	defer done()
	if e.steps.free() {
		defer e.stepsEnded()
		return s.alone(ctx, e)
	}
	s.done = make(chan struct{})
	e.queueStep(&s)
	select {
	case <-s.done:
		return s.r, s.err
	case <-ctx.Done():
		e.steps.drop(&s)
		return nil, e.explain(ctx, ctx.Err())
	}
}

// free reports whether a step may go at once; then it is one that flies.
func (q *steps) free() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.flying >= stepsAtOnce || len(q.waiting) > 0 {
		return false
	}
	q.flying++
	return true
}

// drop takes a step back, if it was not sent.
func (q *steps) drop(s *step) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = slices.DeleteFunc(q.waiting, func(other *step) bool { return other == s })
}

// close sends nothing more. Whoever waits is told by the engine's context.
func (q *steps) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	if q.due != nil {
		q.due.Stop()
	}
}

func (e *Engine) queueStep(s *step) {
	q := &e.steps
	q.mu.Lock()
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, s)
	switch {
	case q.due == nil:
		q.due = time.AfterFunc(q.delay, e.stepsDue)
	case len(q.waiting) == 1:
		q.due.Reset(q.delay)
	}
}

func (e *Engine) stepsDue() {
	e.steps.mu.Lock()
	defer e.steps.mu.Unlock()
	e.sendSteps()
}

func (e *Engine) stepsEnded() {
	e.steps.mu.Lock()
	defer e.steps.mu.Unlock()
	e.steps.flying--
	e.sendSteps()
}

// sendSteps sends as many of those that wait as go together. mu is held.
func (e *Engine) sendSteps() {
	q := &e.steps
	if len(q.waiting) == 0 || q.closed {
		return
	}
	all := q.take()
	if len(q.waiting) > 0 {
		q.due.Reset(q.delay)
	} else {
		q.due.Stop()
	}
	q.flying++
	e.running.Go(func() {
		defer e.stepsEnded()
		e.together(all)
	})
}

// take is the first that waits and others that go with it, in their order.
func (q *steps) take() []*step {
	var all []*step
	names := make(map[string]bool, len(q.waiting))
	q.waiting = slices.DeleteFunc(q.waiting, func(s *step) bool {
		if names[s.name] || len(all) == stepsEach {
			return false
		}
		names[s.name] = true
		all = append(all, s)
		return true
	})
	return all
}

// together carries out steps in one transaction. What etcd refuses for one of them alone
// it refuses for all, and has done nothing: then each goes by itself.
func (e *Engine) together(all []*step) {
	if len(all) == 1 {
		all[0].answer(e)
		return
	}
	ctx, done := e.request(e.ctx)
	defer done()
	ops := make([]*pb.RequestOp, len(all))
	for i, s := range all {
		ops[i] = &pb.RequestOp{Request: &pb.RequestOp_RequestTxn{RequestTxn: s.request()}}
	}
	r, err := e.kv.Txn(ctx, &pb.TxnRequest{Success: ops})
	err = e.explain(ctx, err)
	if slices.ContainsFunc(refusals, func(refused error) bool { return errors.Is(err, refused) }) {
		var each sync.WaitGroup
		for _, s := range all {
			each.Go(func() { s.answer(e) })
		}
		each.Wait()
		return
	}
	for i, s := range all {
		if s.err = err; err == nil {
			s.r = r.GetResponses()[i].GetResponseTxn()
			s.r.Header = r.GetHeader()
		}
		close(s.done)
	}
}

func (s *step) answer(e *Engine) {
	ctx, done := e.request(e.ctx)
	defer done()
	s.r, s.err = s.alone(ctx, e)
	close(s.done)
}

// alone sends one step. A deletion that needs no transaction is spared the price of one.
func (s *step) alone(ctx context.Context, e *Engine) (*pb.TxnResponse, error) {
	remove := s.then[0].GetRequestDeleteRange()
	if remove == nil || len(s.conditions) > 0 {
		r, err := e.kv.Txn(ctx, s.request())
		return r, e.explain(ctx, err)
	}
	r, err := e.kv.DeleteRange(ctx, remove)
	if err != nil {
		return nil, e.explain(ctx, err)
	}
	removed := &pb.ResponseOp{Response: &pb.ResponseOp_ResponseDeleteRange{ResponseDeleteRange: r}}
	return &pb.TxnResponse{Header: r.GetHeader(), Succeeded: true, Responses: []*pb.ResponseOp{removed}}, nil
}

// refusals may be of one step and not of others.
var refusals = []error{
	rpctypes.ErrNoSpace, rpctypes.ErrPermissionDenied, rpctypes.ErrLeaseNotFound, rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps,
}

// createdAt: a key was made at that revision; 0: there is none.
func createdAt(key string, rev int64) *pb.Compare {
	at := &pb.Compare_CreateRevision{CreateRevision: rev}
	return &pb.Compare{Key: []byte(key), Target: pb.Compare_CREATE, TargetUnion: at}
}

// compareValue is on how a key's value is beside another one.
func compareValue(key string, is pb.Compare_CompareResult, value string) *pb.Compare {
	return &pb.Compare{Key: []byte(key), Target: pb.Compare_VALUE, Result: is, TargetUnion: &pb.Compare_Value{Value: []byte(value)}}
}

func putKey(key, value string, lease clientv3.LeaseID) *pb.RequestOp {
	put := &pb.PutRequest{Key: []byte(key), Value: []byte(value), Lease: int64(lease)}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}}
}

func deleteKey(key string) *pb.RequestOp {
	remove := &pb.DeleteRangeRequest{Key: []byte(key)}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: remove}}
}

// readLine is inLine by creation, without values; a limit of 0: all.
func readLine(dir string, order pb.RangeRequest_SortOrder, limit int64) *pb.RequestOp {
	read := &pb.RangeRequest{
		Key: []byte(firstKey(dir)), RangeEnd: []byte(endKey(dir)), KeysOnly: true, Limit: limit,
		SortTarget: pb.RangeRequest_CREATE, SortOrder: order,
	}
	return &pb.RequestOp{Request: &pb.RequestOp_RequestRange{RequestRange: read}}
}
