package recipes

import (
	"context"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/zkengine"
)

//nolint:errcheck // as articles write it
func zkMutexTheirs(_ context.Context, addr string, work func() error) error {
	// recipe zookeeper mutex: go-zookeeper
	conn, _, err := zk.Connect([]string{addr}, 10*time.Second)
	if err != nil {
		return err
	}
	defer conn.Close()

	lock := zk.NewLock(conn, "/locks/report", zk.WorldACL(zk.PermAll))
	if err := lock.Lock(); err != nil {
		return err
	}
	defer lock.Unlock()
	return work() // nothing tells it when the session has ended
	// end
}

func zkMutexOurs(ctx context.Context, addr string, work func(context.Context, lockstep.Token) error) error {
	// recipe zookeeper mutex: Lockstep
	c, err := lockstep.Open(ctx, "zk://"+addr, zkengine.Driver)
	if err != nil {
		return err
	}
	defer c.Close()

	return c.Mutex("/locks/report").Do(ctx, func(ctx context.Context) error {
		return work(ctx, lockstep.TokenFrom(ctx)) // ctx ends before the next holder begins
	})
	// end
}
