package etcdengine

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// A line is its contenders in the order of their creation. Who holds follows from
// that alone: the longest prefix whose shares fit the limit of the first.

// granted is how many of a line hold. What disagrees with the first (a foreign claim
// among shares, one that is about to withdraw) needs all for itself.
func granted(line []contender) int {
	used := 0
	for i, c := range line {
		first := line[0].shape
		need := first.limit
		if c.shape.kind == first.kind && c.shape.limit == first.limit {
			need = c.shape.shares
		}
		if used+need > first.limit {
			return i
		}
		used += need
	}
	return len(line)
}

// mismatch is the error of a claim that its line's first contender does not allow.
func mismatch(name string, first contender, sh shape) error {
	is := first.shape
	exclusive := sh.kind == engine.Mutex || sh.kind == engine.Election
	switch {
	case is.version > layoutVersion:
		return fmt.Errorf("%w: the line of %q has a claim of a newer layout (%d; this program knows %d): upgrade this program",
			engine.ErrUnusable, name, is.version, layoutVersion)
	case first.foreign() && exclusive, is.kind == sh.kind && is.limit == sh.limit:
		return nil
	}
	m := &engine.MismatchError{Name: name, Kind: is.kind, Limit: is.limit, WantKind: sh.kind, WantLimit: sh.limit}
	if first.foreign() {
		m.Limit, m.Detail = 0, "another program's lock is in the way of a "+sh.kind.String()
	}
	return m
}

// rules is the first contender of a line that tells a kind, or its first.
func rules(line []contender) contender {
	if i := slices.IndexFunc(line, func(c contender) bool { return !c.foreign() }); i >= 0 && isExclusive(line[i].shape.kind) {
		return line[i]
	}
	return line[0]
}

func isExclusive(k engine.Kind) bool { return k == engine.Mutex || k == engine.Election }

// Line is the present line of a name. Ages are not known: etcd keeps no times.
func (e *Engine) Line(ctx context.Context, name string) (engine.Line, error) {
	if e.ctx.Err() != nil {
		return engine.Line{}, engine.ErrClosed
	}
	dir, tokens := e.dir(name), e.own("tokens", name, "")
	r, err := e.txn(ctx, nil, []clientv3.Op{inLine(dir, byCreation), inLine(tokens, keysOnly)}, nil)
	if err != nil {
		return engine.Line{}, err
	}
	published := make(map[string]engine.Token)
	for _, kv := range ranged(r, 1) {
		published[strings.TrimPrefix(string(kv.GetKey()), tokens)] = engine.Token(kv.GetModRevision())
	}
	return show(name, contenders(dir, ranged(r, 0)), published), nil
}

// ranged is what the i-th operation of a transaction found.
func ranged(r *clientv3.TxnResponse, i int) []*mvccpb.KeyValue {
	return r.Responses[i].GetResponseRange().GetKvs()
}

// show is a line as others see it.
func show(name string, line []contender, published map[string]engine.Token) engine.Line {
	l := engine.Line{Name: name}
	if len(line) == 0 {
		return l
	}
	rule := rules(line).shape
	l.Kind, l.Limit = rule.kind, rule.limit
	holders := granted(line)
	for i, c := range line {
		p := engine.Place{ID: c.id, Shares: c.shape.shares, Note: slices.Clone(c.note), Foreign: c.foreign()}
		if i >= holders {
			l.Waiters = append(l.Waiters, p)
			continue
		}
		p.Token = published[c.rest]
		if !c.foreign() && !isExclusive(c.shape.kind) {
			p.Token = engine.Token(c.created)
		}
		l.Holders = append(l.Holders, p)
	}
	return l
}

// WatchLine yields the line now and after every change; some may be merged.
func (e *Engine) WatchLine(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
	return func(yield func(engine.Line, error) bool) {
		if err := e.watchLine(ctx, name, func(l engine.Line) bool { return yield(l, nil) }); err != nil {
			yield(engine.Line{}, err)
		}
	}
}

// watchLine watches first and looks then, so that nothing comes in between; nil:
// nobody takes the lines any more.
func (e *Engine) watchLine(outer context.Context, name string, yield func(engine.Line) bool) error {
	if e.ctx.Err() != nil {
		return engine.ErrClosed
	}
	ctx, done := e.lasting(outer)
	defer done()
	dir, tokens := e.dir(name), e.own("tokens", name, "")
	claims := e.client.Watch(ctx, firstKey(dir), clientv3.WithRange(endKey(dir)))
	published := e.client.Watch(ctx, firstKey(tokens), clientv3.WithRange(endKey(tokens)))
	var last engine.Line
	for first := true; ; first = false {
		line, err := e.Line(ctx, name)
		if err != nil {
			return e.interrupted(outer, err)
		}
		if (first || !line.Same(last)) && !yield(line) {
			return nil
		}
		last = line
		select {
		case r, ok := <-claims:
			err = watchError(r, ok)
		case r, ok := <-published:
			err = watchError(r, ok)
		}
		if err != nil {
			return e.interrupted(outer, err)
		}
	}
}

// watchError is why a watch ended; nil: it goes on.
func watchError(r clientv3.WatchResponse, ok bool) error {
	if !ok {
		return errWatchEnded
	}
	return r.Err()
}

var errWatchEnded = fmt.Errorf("etcd: the watch ended")

// interrupted is the error of what waited: Close and the caller's context come first.
func (e *Engine) interrupted(outer context.Context, err error) error {
	switch {
	case e.ctx.Err() != nil:
		return engine.ErrClosed
	case outer.Err() != nil:
		return outer.Err()
	}
	return explain(err)
}

// namesPage is how many keys are asked for at a time.
const namesPage = 1000

// Names reads the keys of all claims and entries that begin with the prefix: etcd has
// no list of names.
func (e *Engine) Names(ctx context.Context, prefix string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		if e.ctx.Err() != nil {
			yield("", engine.ErrClosed)
			return
		}
		seen := make(map[string]bool)
		for kv, err := range e.keys(ctx, e.prefix+prefix) {
			if err != nil {
				yield("", err)
				return
			}
			key := strings.TrimPrefix(string(kv.GetKey()), e.prefix)
			slash := strings.LastIndexByte(key, '/')
			if slash < 1 || seen[key[:slash]] || strings.HasPrefix(key, ownRoot) || !strings.HasPrefix(key[:slash], prefix) {
				continue
			}
			ok, err := e.isClaim(ctx, kv, key[slash+1:])
			if err != nil {
				yield("", err)
				return
			}
			if !ok {
				continue
			}
			seen[key[:slash]] = true
			if !yield(key[:slash], nil) {
				return
			}
		}
	}
}

// isClaim tells of a key that was asked for without the rest, which may not know its
// lease (fromKeys).
func (e *Engine) isClaim(ctx context.Context, kv *mvccpb.KeyValue, last string) (bool, error) {
	_, ours := parseRest(last)
	if kv.GetLease() != 0 || ours || !isLease(last) {
		_, ok := contenderOf(kv, last)
		return ok || ours && kv.GetLease() == 0, nil
	}
	r, err := e.get(ctx, string(kv.GetKey()))
	if err != nil || len(r.Kvs) == 0 {
		return false, err
	}
	_, ok := contenderOf(r.Kvs[0], last)
	return ok, nil
}

// keys yields all keys that begin with prefix, page by page, without their values.
func (e *Engine) keys(ctx context.Context, prefix string) iter.Seq2[*mvccpb.KeyValue, error] {
	return func(yield func(*mvccpb.KeyValue, error) bool) {
		from, end := prefix, clientv3.GetPrefixRangeEnd(prefix)
		if prefix == "" {
			from = "\x00"
		}
		for more := true; more; {
			r, err := e.get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(namesPage), keysOnly)
			if err != nil {
				yield(nil, err)
				return
			}
			for _, kv := range r.Kvs {
				if !yield(kv, nil) {
					return
				}
				from = string(kv.GetKey()) + "\x00"
			}
			more = r.More
		}
	}
}

// get is one linearizable read.
func (e *Engine) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if e.ctx.Err() != nil {
		return nil, engine.ErrClosed
	}
	ctx, done := e.request(ctx)
	defer done()
	r, err := e.client.Get(ctx, key, opts...)
	if err != nil {
		return nil, e.explain(ctx, err)
	}
	return r, nil
}

// upTo reads the last two keys of a line that were made at a revision or before it.
func (e *Engine) upTo(ctx context.Context, dir string, created int64) (*pb.RangeResponse, error) {
	ctx, done := e.request(ctx)
	defer done()
	read := readLine(dir, pb.RangeRequest_DESCEND, 2).GetRequestRange()
	read.MaxCreateRevision = created
	r, err := e.kv.Range(ctx, read)
	return r, e.explain(ctx, err)
}

// Remove ends the claim whoever made it, and tells its session where it is ours.
func (e *Engine) Remove(ctx context.Context, name string, id engine.ClaimID) error {
	if e.ctx.Err() != nil {
		return engine.ErrClosed
	}
	dir := e.dir(name)
	r, err := e.get(ctx, firstKey(dir), clientv3.WithRange(endKey(dir)))
	if err != nil {
		return err
	}
	line := contenders(dir, r.Kvs)
	i := slices.IndexFunc(line, func(c contender) bool { return c.id == id })
	if i < 0 {
		return nil
	}
	c := line[i]
	then := []clientv3.Op{clientv3.OpDelete(dir + c.rest)}
	if !c.foreign() {
		key := e.sessionKey(c.session)
		told := clientv3.OpPut(key, sessionMark+" "+string(c.id), clientv3.WithIgnoreLease())
		then = append(then, clientv3.OpDelete(e.tokenKey(name, c.rest)),
			clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), ">", 0)}, []clientv3.Op{told}, nil))
	}
	_, err = e.txn(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(dir+c.rest), "=", c.created)}, then, nil)
	return err
}
