package main

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"github.com/lockstep-go/lockstep"
)

// The contenders on an etcd.

const (
	etcdMutex = "concurrency.Mutex"
	rawEtcd   = "raw put and delete"
)

// dialEtcd is a client as its users make it, but for its log.
func dialEtcd(url string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: hostsOf(url), Logger: zap.NewNop()})
}

// openEtcdMutex has one session for each client. Two goroutines that lock one name by it
// do not exclude each other; here no client locks a name twice at a time.
func openEtcdMutex(url string) (*locker, error) {
	c, err := dialEtcd(url)
	if err != nil {
		return nil, err
	}
	s, err := concurrency.NewSession(c, concurrency.WithTTL(int(lockstep.DefaultTTL.Seconds())))
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	ctx := context.Background()
	return &locker{
		lock: func(name string) (func() error, error) {
			m := concurrency.NewMutex(s, name)
			return func() error { return m.Unlock(ctx) }, m.Lock(ctx)
		},
		close: func() error { return errors.Join(s.Close(), c.Close()) },
	}, nil
}

// openRawEtcd puts a key that must not be there, and deletes it: nobody can wait for it.
func openRawEtcd(url string) (*locker, error) {
	c, err := dialEtcd(url)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	lease, err := c.Grant(ctx, 3600)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return &locker{
		lock: func(name string) (func() error, error) {
			free := clientv3.Compare(clientv3.CreateRevision(name), "=", 0)
			_, err := c.Txn(ctx).If(free).Then(clientv3.OpPut(name, "", clientv3.WithLease(lease.ID))).Commit()
			return func() error { _, err := c.Delete(ctx, name); return err }, err
		},
		close: c.Close,
	}, nil
}
