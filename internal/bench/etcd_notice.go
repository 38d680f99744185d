package main

import (
	"context"
	"errors"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A bare delete or put, until another process has its event by a watch that is synced:
// nothing is handed over faster by an etcd.
const (
	rawDeleteEvent = "raw delete → event"
	rawPutEvent    = "raw put → event"

	rawEtcdKey = "raw-watched"
)

type rawPut struct {
	always

	client *clientv3.Client
}

func newRawPut(url string) (giver, error) {
	c, err := dialEtcd(url)
	return rawPut{client: c}, err
}

func (r rawPut) close() error { return r.client.Close() }
func (r rawPut) give() error {
	_, err := r.client.Put(context.Background(), rawEtcdKey, "value")
	return err
}

// rawDelete puts before what it deletes.
type rawDelete struct{ rawPut }

func newRawDelete(url string) (giver, error) {
	c, err := dialEtcd(url)
	return rawDelete{rawPut{client: c}}, err
}

func (r rawDelete) take() error { return r.rawPut.give() }
func (r rawDelete) give() error {
	_, err := r.client.Delete(context.Background(), rawEtcdKey)
	return err
}

func newPutWatcher(url string) (worker, error)    { return watchRaw(url, clientv3.WithFilterDelete()) }
func newDeleteWatcher(url string) (worker, error) { return watchRaw(url, clientv3.WithFilterPut()) }

func watchRaw(url string, filter clientv3.OpOption) (worker, error) {
	c, err := dialEtcd(url)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	events := c.Watch(ctx, rawEtcdKey, filter)
	next := func() (int64, error) {
		r, ok := <-events
		at := monotonic()
		if !ok {
			return 0, errors.New("the watch ended")
		}
		return at, r.Err()
	}
	return waiterRole{next, func() error { stop(); return c.Close() }}, nil
}
