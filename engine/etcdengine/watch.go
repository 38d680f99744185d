package etcdengine

import (
	"context"
	"errors"
	"iter"
	"math"
	"math/rand/v2"
	"slices"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/lockstep-go/lockstep/engine"
)

// A watch of a map is one stream of its own, over the key NAME and the prefix NAME/ as
// one range: two watches of one client are not in one order. What lies between the two
// (NAME-x) comes along and is dropped.
//
// It is not the client's Watch, which takes up a broken stream by itself: before
// 3.4.25 and 3.5.8 the answer to a progress request may come before events that it
// seems to have passed, and a client that goes on after it skips them. Here a broken
// stream is the end, and the core calls again with the last revision that was shown.

// Watch yields commits after a revision, or the whole map first.
func (s *store) Watch(ctx context.Context, m string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		w := &mapWatch{s: s, m: m, at: after, yield: yield}
		if err := w.run(ctx); err != nil && !errors.Is(err, errStopped) {
			yield(engine.Event{}, s.e().interrupted(ctx, err))
		}
	}
}

// mapWatch is one watch.
type mapWatch struct {
	s     *store
	m     string
	at    engine.Revision // shown up to here
	yield func(engine.Event, error) bool
	part  []*mvccpb.Event // of a commit: the fragment that follows may have the rest

	from   engine.Revision // where the stream began
	doubts int             // how often to ask yet whether it could begin there
}

// errStopped: whoever takes the events takes no more.
var errStopped = errors.New("stopped")

// errGap: etcd no longer has what came after the revision.
var errGap = errors.New("a gap")

func (w *mapWatch) run(outer context.Context) error {
	if w.s.ctx.Err() != nil {
		return engine.ErrClosed
	}
	ctx, done := w.s.e().lasting(outer)
	defer done()
	for {
		if w.at == 0 {
			if err := w.showAll(ctx); err != nil {
				return err
			}
		}
		if err := w.follow(ctx); !errors.Is(err, errGap) {
			return err
		}
		w.at = 0
	}
}

func (w *mapWatch) showAll(ctx context.Context) error {
	ev, err := w.s.List(ctx, w.m)
	if err != nil {
		return err
	}
	w.at = ev.Revision
	return w.show(ev)
}

func (w *mapWatch) show(ev engine.Event) error {
	if !w.yield(ev, nil) {
		return errStopped
	}
	return nil
}

// follow shows what comes after the last revision shown.
func (w *mapWatch) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := w.open(ctx)
	if err != nil {
		return err
	}
	w.from, w.doubts, w.part = w.at, 2, nil
	asking := make(chan struct{})
	go func() {
		defer close(asking)
		askForProgress(ctx, stream)
	}()
	defer func() { cancel(); <-asking }()
	for {
		r, err := stream.Recv()
		if err != nil {
			return rpctypes.Error(err)
		}
		if err := w.received(ctx, r); err != nil {
			return err
		}
	}
}

// open waits for a connection where there is none, and for as long as the core does: an
// error would have it pause, and the longer the more there were.
func (w *mapWatch) open(ctx context.Context) (pb.Watch_WatchClient, error) {
	stream, err := pb.NewWatchClient(w.s.client.ActiveConnection()).Watch(ctx, grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(math.MaxInt32))
	if err != nil {
		return nil, rpctypes.Error(err)
	}
	key := w.s.prefix + w.m
	create := &pb.WatchCreateRequest{
		Key: []byte(key), RangeEnd: []byte(clientv3.GetPrefixRangeEnd(key + "/")), StartRevision: int64(w.at) + 1, Fragment: true,
	}
	err = stream.Send(&pb.WatchRequest{RequestUnion: &pb.WatchRequest_CreateRequest{CreateRequest: create}})
	if err != nil {
		return nil, rpctypes.Error(err)
	}
	return stream, nil
}

// askForProgress asks often enough for "still current".
func askForProgress(ctx context.Context, stream pb.Watch_WatchClient) {
	for ctx.Err() == nil {
		const due = engine.Stale / 3
		pause(ctx, due*6/10+rand.N(due*2/10))
		if ctx.Err() != nil {
			return
		}
		ask := &pb.WatchRequest_ProgressRequest{ProgressRequest: &pb.WatchProgressRequest{}}
		if stream.Send(&pb.WatchRequest{RequestUnion: ask}) != nil {
			return // Recv says why
		}
	}
}

func (w *mapWatch) received(ctx context.Context, r *pb.WatchResponse) error {
	switch {
	case r.GetCompactRevision() > 0:
		return errGap
	case r.GetCanceled():
		return cancelled(r.GetCancelReason())
	case r.GetCreated():
		return w.current(ctx)
	}
	events := slices.Concat(w.part, r.GetEvents())
	w.part = nil
	if len(events) == 0 {
		return w.current(ctx)
	}
	if r.GetFragment() {
		last := events[len(events)-1].GetKv().GetModRevision()
		begun := slices.IndexFunc(events, func(ev *mvccpb.Event) bool { return ev.GetKv().GetModRevision() == last })
		events, w.part = events[:begun], slices.Clone(events[begun:])
	}
	return w.commits(ctx, events)
}

// reaches asks whether all that came after the last revision shown can be shown: it
// is not compacted, and the store has reached it (one that has not has lost its data).
// The watch does not say so of the revision that was compacted to: before 3.5.18 the
// deletions of that one are gone, and nothing tells.
func (w *mapWatch) reaches(ctx context.Context) error {
	_, err := w.s.e().get(ctx, w.s.prefix+w.m, clientv3.WithCountOnly(), clientv3.WithRev(int64(w.from)))
	if errors.Is(err, rpctypes.ErrCompacted) || errors.Is(err, rpctypes.ErrFutureRev) {
		return errGap
	}
	return err
}

// current says that what was shown still is. A watch that begins in the past is served
// a little after it was made, so the first answer to a progress request asks again.
func (w *mapWatch) current(ctx context.Context) error {
	if w.doubts > 0 {
		w.doubts--
		if err := w.reaches(ctx); err != nil {
			return err
		}
	}
	return w.show(engine.Event{Revision: w.at})
}

// commits shows events of one revision as one event.
func (w *mapWatch) commits(ctx context.Context, events []*mvccpb.Event) error {
	for len(events) > 0 {
		rev := events[0].GetKv().GetModRevision()
		ev := engine.Event{Revision: engine.Revision(rev)}
		for len(events) > 0 && events[0].GetKv().GetModRevision() == rev {
			e, ok, err := w.entry(ctx, events[0])
			if err != nil {
				return err
			}
			if ok {
				ev.Entries = append(ev.Entries, e)
			}
			events = events[1:]
		}
		if len(ev.Entries) == 0 || ev.Revision <= w.at {
			continue
		}
		w.at = ev.Revision
		if err := w.show(ev); err != nil {
			return err
		}
	}
	return nil
}

// entry is what an event says of the map; not every key in the range is one of its.
func (w *mapWatch) entry(ctx context.Context, ev *mvccpb.Event) (engine.Entry, bool, error) {
	if ev.GetType() != mvccpb.Event_DELETE {
		e, ok := w.s.entryOf(w.m, ev.GetKv())
		return e, ok, nil
	}
	key, ok := w.s.keyOf(w.m, string(ev.GetKv().GetKey()))
	if !ok {
		return engine.Entry{}, false, nil
	}
	claim, err := w.wasClaim(ctx, ev.GetKv())
	if err != nil || claim {
		return engine.Entry{}, false, err
	}
	return engine.Entry{Key: key, Revision: engine.Revision(ev.GetKv().GetModRevision()), Deleted: true}, true, nil
}

// wasClaim: a deletion does not tell what the key was bound to. Ours are known by
// their form. A key that may have been a foreign claim's is looked up as it was before.
func (w *mapWatch) wasClaim(ctx context.Context, kv *mvccpb.KeyValue) (bool, error) {
	last := lastPart(string(kv.GetKey()))
	if _, ok := parseRest(last); ok {
		return true, nil
	}
	if !isLease(last) {
		return false, nil
	}
	r, err := w.s.e().get(ctx, string(kv.GetKey()), clientv3.WithRev(kv.GetModRevision()-1))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return false, nil // a deletion of what was never shown does no harm
	case err != nil:
		return false, err
	}
	for _, before := range r.Kvs {
		if _, ok := contenderOf(before, last); ok {
			return true, nil
		}
	}
	return false, nil
}
