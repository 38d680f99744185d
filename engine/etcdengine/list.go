package etcdengine

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep/engine"
)

// listPage is how many entries are asked for at a time.
const listPage = 256

// List reads the map page by page, all of one revision. Where that revision is
// compacted meanwhile it begins again.
func (s *store) List(ctx context.Context, m string) (engine.Event, error) {
	for {
		ev, err := s.list(ctx, m)
		if !errors.Is(err, rpctypes.ErrCompacted) {
			return ev, err
		}
	}
}

func (s *store) list(ctx context.Context, m string) (engine.Event, error) {
	if s.ctx.Err() != nil {
		return engine.Event{}, engine.ErrClosed
	}
	own, from := s.prefix+m, s.prefix+m+"/"
	end := clientv3.GetPrefixRangeEnd(from)
	page := func(from string, opts ...clientv3.OpOption) clientv3.Op {
		return clientv3.OpGet(from, append(opts, clientv3.WithRange(end), clientv3.WithLimit(listPage))...)
	}
	r, err := s.e().txn(ctx, nil, []clientv3.Op{clientv3.OpGet(own), page(from)}, nil)
	if err != nil {
		return engine.Event{}, err
	}
	ev := engine.Event{Revision: engine.Revision(r.Header.GetRevision()), Full: true}
	ev.Entries = s.entries(ev.Entries, m, ranged(r, 0))
	for kvs, more := ranged(r, 1), r.Responses[1].GetResponseRange().GetMore(); ; {
		ev.Entries = s.entries(ev.Entries, m, kvs)
		if !more {
			return ev, nil
		}
		next := string(kvs[len(kvs)-1].GetKey()) + "\x00"
		r, err := s.e().txn(ctx, nil, []clientv3.Op{page(next, clientv3.WithRev(int64(ev.Revision)))}, nil)
		if err != nil {
			return engine.Event{}, err
		}
		kvs, more = ranged(r, 0), r.Responses[0].GetResponseRange().GetMore()
	}
}

func (s *store) entries(all []engine.Entry, m string, kvs []*mvccpb.KeyValue) []engine.Entry {
	for _, kv := range kvs {
		if e, ok := s.entryOf(m, kv); ok {
			all = append(all, e)
		}
	}
	return all
}
