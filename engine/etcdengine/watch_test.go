package etcdengine

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
)

// fragments counts what a server splits.
type fragments struct {
	grpc.ClientStream

	n *atomic.Int64
}

func (f fragments) RecvMsg(m any) error {
	err := f.ClientStream.RecvMsg(m)
	if r, ok := m.(*pb.WatchResponse); ok && err == nil && r.GetFragment() {
		f.n.Add(1)
	}
	return err
}

// A server splits an answer of more than some 2 MiB, and does not care where a commit
// ends.
func TestACommitThatIsSplitIsShownWhole(t *testing.T) {
	t.Parallel()
	s := start(t)
	var split atomic.Int64
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Addr}, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainStreamInterceptor(func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer,
			opts ...grpc.CallOption,
		) (grpc.ClientStream, error) {
			stream, err := next(ctx, d, cc, method, opts...)
			return fragments{stream, &split}, err
		}),
	}})
	if err != nil {
		t.Fatal(err)
	}
	ctx := guarded(t)
	e, err := FromClient(ctx, c, WithTimeout(patience))
	if err != nil {
		t.Fatal(err)
	}
	e.owned = true
	t.Cleanup(func() { e.Close() })
	value := []byte(strings.Repeat("x", 300_000))
	first, err := e.Store().Commit(ctx, "m", engine.Tx{Put: []engine.Entry{{Key: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	const commits, each = 6, 4 // of 1.2 MB, where 2 MiB end in the midst of one
	tx := engine.Tx{}
	for _, k := range []string{"a", "b", "c", "d"} {
		tx.Put = append(tx.Put, engine.Entry{Key: k, Value: value})
	}
	var last engine.Revision
	for range commits {
		if last, err = e.Store().Commit(ctx, "m", tx); err != nil {
			t.Fatal(err)
		}
	}
	shown, at := 0, first
	for ev, err := range e.Store().Watch(ctx, "m", first) {
		if err != nil {
			t.Fatal(err)
		}
		if len(ev.Entries) == 0 {
			continue
		}
		if len(ev.Entries) != each || ev.Full || ev.Revision <= at {
			t.Errorf("after revision %d: %d entries at %d, full: %v", at, len(ev.Entries), ev.Revision, ev.Full)
		}
		shown++
		if at = ev.Revision; at == last {
			break
		}
	}
	if shown != commits {
		t.Errorf("%d events of %d commits", shown, commits)
	}
	if split.Load() == 0 {
		t.Error("the server split nothing: the test shows nothing")
	}
}

// A commit that waits for another's request obeys its own context.
func TestACommitWaitsForNobodyPastItsContext(t *testing.T) {
	t.Parallel()
	s := start(t)
	e := openOn(t, []string{s.Addr}, nil)
	commit := func(ctx context.Context, id string) error {
		_, err := e.Store().Commit(ctx, "m", engine.Tx{ID: id, Put: []engine.Entry{{Key: "k"}}})
		return err
	}
	s.Pause()
	ctx, cancel := context.WithCancel(guarded(t))
	first := make(chan error, 1)
	go func() { first <- commit(ctx, "1") }()
	await(t, "a commit to ask for the lease of its id", func() bool { return len(e.records.asking) == 1 })
	second := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
		defer cancel()
		second <- commit(ctx, "2")
	}()
	select {
	case err := <-second:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the second: %v", err)
		}
	case err := <-first:
		t.Errorf("the first ended before the second: %v", err)
		<-second
	}
	s.Continue()
	cancel()
}

// The core pauses after an error, and the longer the more there were: a watch of a
// member that is away waits for it instead.
func TestAWatchWaitsForAConnection(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := faultnet.New(t, s.Addr, faultnet.Raw)
	e := openOn(t, []string{p.Addr}, nil)
	ctx := guarded(t)
	rev, err := e.Store().Commit(ctx, "m", engine.Tx{Put: []engine.Entry{{Key: "k"}}})
	if err != nil {
		t.Fatal(err)
	}
	p.Refuse()
	p.Cut()
	conn := e.client.ActiveConnection()
	for state := conn.GetState(); state != connectivity.TransientFailure; state = conn.GetState() {
		if !conn.WaitForStateChange(ctx, state) {
			t.Fatalf("%v, %v", state, context.Cause(ctx))
		}
	}
	time.AfterFunc(200*time.Millisecond, p.Heal) // an error comes before, if one comes
	for ev, err := range e.Store().Watch(ctx, "m", rev) {
		if err != nil || ev.Full || ev.Revision != rev {
			t.Errorf("%+v, %v, want that revision %d still is current", ev, err, rev)
		}
		break
	}
}
