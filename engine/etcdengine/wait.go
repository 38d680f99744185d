package etcdengine

import (
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// A waiter watches what it waits for, and looks at the line when that changes.
//
// The watch comes first and names no revision: one that begins in the past is served
// every 100 ms only ("unsynced"). Then the line is looked at, by creation: not whether
// the key that is watched exists, for its owner may give back and enter again under
// the same key, behind us, and both would wait for ever. What happens after the look
// the watch tells.
//
// Who is watched (S8): for exclusive kinds the one before; a reader watches the last
// writer before it. Of shares only the first waiter watches the holders, since any of
// them may free enough; others watch the one before them. So whoever is granted after
// it waited touches its own key: the next watches that, and is granted as well or takes
// over as the first waiter.
//
// Whoever entered when there was but one claim, an exclusive one, is the next from then
// on. It watches that claim and its own by one watch, which tells of both in the order of
// revisions, and of a revision all at once. (Of an earlier life of a key as well, where
// the member that serves the watch was behind; the revision tells.) When it tells that the
// other claim has ended, and not its own, then its own was there at that revision (S5), and
// was granted by it: nobody need be asked. What may have happened since is what may happen
// to any holder, who believes in its claim while its session is proven; so it must be.

// blocker is what a waiter waits for.
type blocker struct {
	key, end string // one key, or a range
	created  int64  // which life of the key; 0 for a range
	any      bool   // any change counts, not only the end
}

// behind waits for one claim's end.
func (a *attempt) behind(c contender) blocker {
	return blocker{key: a.dir + c.rest, created: c.created}
}

// await waits until what was in the way has changed, and looks at the line. It may
// return a view that is not granted.
func (a *attempt) await(outer context.Context, v view) (view, error) {
	ctx, done := a.s.e.lasting(outer)
	defer done()
	watched := v.blocker
	if v.next {
		watched = a.both(v.blocker)
	}
	changes := a.s.e.client.Watch(ctx, watched.key, watched.options()...)
	for {
		now, err := a.look(outer, v.created)
		if err != nil || now.granted || now.blocker != v.blocker {
			return now, err
		}
		passed, err := a.untilTold(outer, changes, v)
		if err != nil {
			return view{}, a.s.e.interrupted(outer, err)
		}
		if passed > 0 && a.s.proven() {
			return view{granted: true, token: passed, created: v.created}, nil
		}
	}
}

// both is the range from the one claim's key to the other's.
func (a *attempt) both(b blocker) blocker {
	return blocker{key: min(a.key, b.key), end: max(a.key, b.key) + "\x00"}
}

// untilTold returns when there is a reason to look, or where none is needed: with the
// revision at which what v waits for has ended. Of its own claim's end others tell, who
// know whether its session has ended too.
func (a *attempt) untilTold(ctx context.Context, changes clientv3.WatchChan, v view) (passed int64, err error) {
	for gone := false; ; {
		told, err := a.sleep(ctx, changes)
		if err != nil || !v.next || len(told) == 0 {
			return 0, err
		}
		for _, ev := range told {
			at := ev.GetKv().GetModRevision()
			switch key := string(ev.GetKv().GetKey()); { // else one between the two, that came later
			case key == a.key && at > v.created:
				gone = true
			case key == v.blocker.key && at > v.blocker.created:
				passed = at
			}
		}
		if passed > 0 && gone {
			return 0, nil
		}
		if passed > 0 {
			return passed, nil
		}
	}
}

func (b blocker) options() []clientv3.OpOption {
	var opts []clientv3.OpOption
	if b.end != "" {
		opts = append(opts, clientv3.WithRange(b.end))
	}
	if !b.any {
		opts = append(opts, clientv3.WithFilterPut())
	}
	return opts
}

// sleep returns when there is a reason to look, with what the watch has told.
func (a *attempt) sleep(ctx context.Context, changes clientv3.WatchChan) ([]*clientv3.Event, error) {
	a.w.asleep.Store(true)
	defer a.w.asleep.Store(false)
	select {
	case <-a.w.removed:
		return nil, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case r, ok := <-changes:
		return r.Events, watchError(r, ok)
	}
}

// find looks for the claim that an earlier Acquire made.
func (a *attempt) find(ctx context.Context) (view, error) {
	created, err := a.seated(ctx)
	switch {
	case err != nil:
		return view{}, err
	case created == 0:
		return view{}, a.gone()
	}
	return a.look(ctx, created)
}

// errSeatTaken: another claim is in the seat, though nothing is known here that put it
// there.
var errSeatTaken = errors.New("etcd: the key is another claim's")

// seated is the revision that made the claim's key; 0: there is none.
func (a *attempt) seated(ctx context.Context) (created int64, err error) {
	r, err := a.s.e.get(ctx, a.key)
	if err != nil || len(r.Kvs) == 0 {
		return 0, err
	}
	switch own := contenders(a.dir, r.Kvs); {
	case len(own) > 0 && own[0].id == a.c.ID:
		return own[0].created, nil
	case a.shape.reseats():
		return 0, errSeatTaken
	}
	return 0, a.gone()
}

// look asks a quorum for the claim and what is before it (S5). created is the claim's
// own.
func (a *attempt) look(ctx context.Context, created int64) (view, error) {
	if isExclusive(a.shape.kind) {
		return a.lookBefore(ctx, created)
	}
	return a.lookAtLine(ctx)
}

// lookBefore reads the last two of the line that were made no later than the claim: it
// is the last itself, and waits for the other one.
func (a *attempt) lookBefore(ctx context.Context, created int64) (view, error) {
	r, err := a.s.e.upTo(ctx, a.dir, created)
	if err != nil {
		return view{}, err
	}
	kvs := r.GetKvs()
	if len(kvs) == 0 || string(kvs[0].GetKey()) != a.key || kvs[0].GetCreateRevision() != created {
		return a.lookAtLine(ctx) // it is gone; or a name below this one was locked in the same step
	}
	v := view{token: r.GetHeader().GetRevision(), created: created}
	if len(kvs) == 1 {
		v.granted = true
		return v, nil
	}
	if line, _ := fromKeys(a.dir, kvs[1:]); a.follows(line) {
		v.blocker = a.behind(line[0])
		return v, nil
	}
	return a.lookAtLine(ctx) // something else is in the range, or a foreign claim
}

// lookAtLine reads the whole line.
func (a *attempt) lookAtLine(ctx context.Context) (view, error) {
	r, err := a.s.e.txn(ctx, nil, []clientv3.Op{inLine(a.dir, byCreation)}, nil)
	if err != nil {
		return view{}, err
	}
	line := contenders(a.dir, ranged(r, 0))
	i := a.indexIn(line)
	if i < 0 {
		return view{}, a.gone()
	}
	if i > 0 {
		if err := a.fits(ctx, rules(line[:i])); err != nil {
			return view{}, err
		}
	}
	v := a.viewOf(line, i, r.Header.GetRevision())
	if v.granted && !isExclusive(a.shape.kind) && i+1 < len(line) {
		return v, a.touch(ctx)
	}
	return v, nil
}

func (a *attempt) indexIn(line []contender) int {
	return slices.IndexFunc(line, func(c contender) bool { return c.rest == a.rest && c.id == a.c.ID })
}

// viewOf is how the line looks from its i-th place, at a revision. The token of an
// exclusive kind is that revision: what foreign mutexes have is such a one. Kinds that
// share have no foreign clients, and are granted in the order of creation.
func (a *attempt) viewOf(line []contender, i int, rev int64) view {
	v := view{token: line[i].created, created: line[i].created}
	if isExclusive(a.shape.kind) {
		v.token = rev
	}
	switch holders := granted(line); {
	case i < holders:
		v.granted = true
	case isExclusive(a.shape.kind):
		v.blocker = a.behind(line[i-1])
	case a.isReader():
		v.blocker = a.behind(line[lastWriter(line[:i])])
	case i == holders:
		v.blocker = blocker{key: firstKey(a.dir), end: endKey(a.dir)}
	default:
		v.blocker = blocker{key: a.dir + line[i-1].rest, created: line[i-1].created, any: true}
	}
	return v
}

func (a *attempt) isReader() bool { return a.shape.kind == engine.ReadWrite && a.shape.shares == 1 }

// lastWriter is the last that is no reader: a reader that waits has one before it.
func lastWriter(line []contender) int {
	for i, c := range slices.Backward(line) {
		if c.shape.kind != engine.ReadWrite || c.shape.shares > 1 {
			return i
		}
	}
	return len(line) - 1
}

// touch changes nothing of the claim's key but its revision.
func (a *attempt) touch(ctx context.Context) error {
	_, err := a.s.e.txn(ctx, nil, []clientv3.Op{clientv3.OpPut(a.key, "", clientv3.WithIgnoreValue(), clientv3.WithIgnoreLease())}, nil)
	if errors.Is(err, rpctypes.ErrKeyNotFound) {
		return a.gone()
	}
	return err
}
