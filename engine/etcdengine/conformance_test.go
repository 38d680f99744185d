package etcdengine

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, harness(t, etcdtest.StartWith(t, etcdtest.Options{Args: unsafe})))
}

func TestPrimitives(t *testing.T) {
	t.Parallel()
	enginetest.RunPrimitives(t, harness(t, etcdtest.StartWith(t, etcdtest.Options{Args: unsafe})))
}

func TestConformanceOfACluster(t *testing.T) {
	enginetest.Run(t, harness(t, etcdtest.StartWith(t, etcdtest.Options{Members: 3, Args: unsafe})))
}

func TestConformanceOfDebiansServer(t *testing.T) {
	t.Parallel()
	enginetest.Run(t, harness(t, etcdtest.StartWith(t, etcdtest.Options{Program: etcdtest.Debian})))
}

// unsafe: what does not test the disk need not wait for it.
var unsafe = []string{"--unsafe-no-fsync"}

// harness counts requests where they are made: all but what watches carry.
func harness(t *testing.T, c *etcdtest.Cluster) enginetest.Harness {
	t.Helper()
	var requests atomic.Int64
	var begun sessions
	admin := newClient(t, c.Addrs(), nil)
	return enginetest.Harness{
		Open: func(t enginetest.TB) engine.Engine {
			t.Helper()
			e, err := FromClient(t.Context(), newClient(t, c.Addrs(), &requests), WithTimeout(20*time.Second))
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			e.SetStraggle(time.Second)
			e.owned = true
			return watched{e, &begun}
		},
		EndSession: func(t enginetest.TB, s engine.Session) {
			t.Helper()
			if _, err := admin.Revoke(context.Background(), s.(*Session).lease); err != nil {
				t.Fatalf("revoke: %v", err)
			}
		},
		Compact: func(t enginetest.TB, _ string) { compact(t, admin) },
		Transactions: func(t enginetest.TB) int {
			await(t, "all who wait to be asleep", begun.asleep)
			return int(requests.Load())
		},
	}
}

// sessions are all that were begun: who has just entered a line looks once more.
type sessions struct {
	mu  sync.Mutex
	all []*Session
}

func (s *sessions) asleep() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Asleep(s.all)
}

// watched is an engine whose sessions are remembered.
type watched struct {
	*Engine

	begun *sessions
}

func (w watched) Begin(ctx context.Context, o engine.SessionOptions) (engine.Session, error) {
	s, err := w.Engine.Begin(ctx, o)
	if err == nil {
		w.begun.mu.Lock()
		defer w.begun.mu.Unlock()
		w.begun.all = append(w.begun.all, s.(*Session))
	}
	return s, err
}

// await polls for what nothing tells of.
func await(t etcdtest.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %v for %s", patience, what)
		}
	}
}

// patience is a guard, never a speed.
const patience = 45 * time.Second

func newClient(t etcdtest.TB, addrs []string, requests *atomic.Int64) *clientv3.Client {
	t.Helper()
	count := func(counts bool) {
		if requests != nil && counts {
			requests.Add(1)
		}
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: addrs, Logger: zap.NewNop(), DialOptions: []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(
			func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				count(true)
				return next(ctx, method, req, reply, cc, opts...)
			}),
		grpc.WithChainStreamInterceptor(
			func(ctx context.Context, d *grpc.StreamDesc, cc *grpc.ClientConn, method string, next grpc.Streamer, opts ...grpc.CallOption,
			) (grpc.ClientStream, error) {
				count(strings.HasSuffix(method, "LeaseKeepAlive"))
				return next(ctx, d, cc, method, opts...)
			}),
	}})
	if err != nil {
		t.Fatalf("client: %v", err)
	}
	if requests == nil {
		t.Cleanup(func() { c.Close() })
	}
	return c
}

func compact(t etcdtest.TB, c *clientv3.Client) {
	t.Helper()
	r, err := c.Get(context.Background(), "k")
	if err == nil {
		_, err = c.Compact(context.Background(), r.Header.GetRevision())
	}
	if err != nil && !errors.Is(err, rpctypes.ErrCompacted) { // another check was faster
		t.Fatalf("compact: %v", err)
	}
}
