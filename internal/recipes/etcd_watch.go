package recipes

import (
	"context"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/etcdengine"
)

//nolint:protogetter // as articles write it
func etcdWatchTheirs(ctx context.Context, addr string, process func(data []byte) (done bool)) error {
	// recipe etcd watch: etcd client
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()

	now, err := client.Get(ctx, "/my/path")
	if err != nil {
		return err
	}
	for _, kv := range now.Kvs {
		if process(kv.Value) {
			return nil
		}
	}
	for r := range client.Watch(ctx, "/my/path", clientv3.WithRev(now.Header.Revision+1)) {
		if err := r.Err(); err != nil {
			return err // compacted, or no leader: list and watch again, and find out what was deleted
		}
		for _, event := range r.Events {
			if event.Type == clientv3.EventTypePut && process(event.Kv.Value) {
				return nil
			}
		}
	}
	return ctx.Err()
	// end
}

func etcdWatchOurs(ctx context.Context, addr string, process func(data []byte) (done bool)) error {
	// recipe etcd watch: Lockstep
	c, err := lockstep.Open(ctx, "etcd://"+addr, etcdengine.Driver)
	if err != nil {
		return err
	}
	defer c.Close()

	// What is there first, then each change; it lists again by itself after a gap.
	for change, err := range c.Value("/my/path").Watch(ctx) {
		if err != nil {
			return err
		}
		if change.Op == lockstep.OpPut && process(change.Value) {
			return nil
		}
	}
	return ctx.Err()
	// end
}

func etcdPutTheirs(ctx context.Context, addr string, data string) error {
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	// recipe etcd put: etcd client
	_, err = client.Put(ctx, "/my/path", data)
	// end
	return err
}

func etcdPutOurs(ctx context.Context, addr string, data string) error {
	c, err := lockstep.Open(ctx, "etcd://"+addr, etcdengine.Driver)
	if err != nil {
		return err
	}
	defer c.Close()
	// recipe etcd put: Lockstep
	_, err = c.Value("/my/path").Put(ctx, []byte(data))
	// end
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	return nil
}
