package recipes

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/etcdengine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
	"github.com/lockstep-go/lockstep/internal/redistest"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// TestRecipes is what `make recipes` runs: each recipe, both forms at the same time
// on one server wherever they can meet.
func TestRecipes(t *testing.T) {
	t.Run("redis mutex", func(t *testing.T) {
		server := redistest.Start(t)
		takeTurns(t,
			func(ctx context.Context, work func(lockstep.Token) error) error {
				return redisMutexTheirs(ctx, server.Addr, func(context.Context) error { return work(0) })
			},
			func(ctx context.Context, work func(lockstep.Token) error) error {
				return redisMutexOurs(ctx, server.Addr, func(_ context.Context, token lockstep.Token) error { return work(token) })
			})
	})
	t.Run("etcd watch", func(t *testing.T) {
		server := etcdtest.Start(t)
		follow(t, server.Addr, etcdPutTheirs, etcdPutOurs)
	})
	t.Run("zookeeper mutex", func(t *testing.T) {
		server := zktest.Start(t, zktest.Options{})
		takeTurns(t,
			func(ctx context.Context, work func(lockstep.Token) error) error {
				return zkMutexTheirs(ctx, server.Addr, func() error { return work(0) })
			},
			func(ctx context.Context, work func(lockstep.Token) error) error {
				return zkMutexOurs(ctx, server.Addr, func(_ context.Context, token lockstep.Token) error { return work(token) })
			})
	})
	t.Run("election", func(t *testing.T) {
		server := etcdtest.Start(t)
		takeTurns(t,
			func(ctx context.Context, work func(lockstep.Token) error) error {
				return electionTheirs(ctx, server.Addr, func(context.Context) error { return work(0) })
			},
			func(ctx context.Context, work func(lockstep.Token) error) error {
				return electionOurs(ctx, server.Addr, func(ctx context.Context) error { return work(lockstep.TokenFrom(ctx)) })
			})
	})
	t.Run("vote", func(t *testing.T) {
		server := etcdtest.Start(t)
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{server.Addr}})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		eng, err := etcdengine.FromClient(t.Context(), client)
		if err != nil {
			t.Fatal(err)
		}
		c, err := lockstep.New(eng)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		decideAlike(t, func(ctx context.Context, voter, choice string) (string, error) {
			return voteTheirs(ctx, client, voter, choice, 3)
		})
		decideAlike(t, func(ctx context.Context, voter, choice string) (string, error) {
			return voteOurs(ctx, c, voter, choice, 3)
		})
	})
}

// guard ends what hangs.
const guard = 45 * time.Second

// takeTurns has both forms of a lock contend for it, and sees that only one works
// at a time and that our tokens rise.
func takeTurns(t *testing.T, forms ...func(context.Context, func(lockstep.Token) error) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	var inside atomic.Int32
	var last lockstep.Token
	done := 0
	work := func(token lockstep.Token) error { //nolint:unparam // as the recipes take it
		if inside.Add(1) != 1 {
			t.Error("two at a time")
		}
		time.Sleep(time.Millisecond) // who else is let in comes now
		if token != 0 && token <= last {
			t.Errorf("token %d after %d", token, last)
		}
		last = max(last, token)
		done++
		inside.Add(-1)
		return nil
	}
	const turns = 5
	var all sync.WaitGroup
	for _, form := range forms {
		all.Go(func() {
			for range turns {
				if err := form(ctx, work); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if done != turns*len(forms) {
		t.Errorf("%d turns, want %d", done, turns*len(forms))
	}
}

// follow has both watchers see what both writers put, up to the last.
func follow(t *testing.T, addr string, puts ...func(ctx context.Context, addr, data string) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	const last = "the last"
	seen := func(data []byte) (done bool) { return string(data) == last }
	var all sync.WaitGroup
	for _, watch := range []func(context.Context, string, func([]byte) bool) error{etcdWatchTheirs, etcdWatchOurs} {
		all.Go(func() {
			if err := watch(ctx, addr, seen); err != nil {
				t.Errorf("watch: %v", err)
			}
		})
	}
	for _, data := range []string{"a", "b", last} {
		for _, put := range puts {
			if err := put(ctx, addr, data); err != nil {
				t.Errorf("put: %v", err)
			}
		}
	}
	all.Wait()
}

// decideAlike has three voters vote, one of them twice and otherwise the second
// time, and sees that all are told the same.
func decideAlike(t *testing.T, vote func(ctx context.Context, voter, choice string) (string, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	var all sync.WaitGroup
	for _, v := range [][2]string{{"a", "yes"}, {"b", "no"}, {"c", "yes"}} {
		all.Go(func() {
			for _, choice := range []string{v[1], "changed my mind"} {
				if decision, err := vote(ctx, v[0], choice); decision != "yes" || err != nil {
					t.Errorf("%s was told %q, %v", v[0], decision, err)
				}
			}
		})
	}
	all.Wait()
}
