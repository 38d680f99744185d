package recipes

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/etcdengine"
)

func electionTheirs(ctx context.Context, addr string, lead func(context.Context) error) error {
	// recipe election: etcd concurrency
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{addr}, DialTimeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer client.Close()
	session, err := concurrency.NewSession(client, concurrency.WithTTL(10))
	if err != nil {
		return err
	}
	defer session.Close()

	election := concurrency.NewElection(session, "scheduler")
	if err := election.Campaign(ctx, "host-7"); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-session.Done(): // which may be after the next one was elected
			cancel()
		case <-ctx.Done():
		}
	}()
	err = lead(ctx)
	if err := election.Resign(context.WithoutCancel(ctx)); err != nil {
		return err
	}
	return err
	// end
}

func electionOurs(ctx context.Context, addr string, lead func(context.Context) error) error {
	// recipe election: Lockstep
	c, err := lockstep.Open(ctx, "etcd://"+addr, etcdengine.Driver)
	if err != nil {
		return err
	}
	defer c.Close()

	return c.Election("scheduler").Run(ctx, "host-7", lead) // campaigns again after a loss
	// end
}
