package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Processes in a ring, each of which waits for a put of its own key and puts the next
// one's. It is no lock, for nobody may join or leave: a hand-over by one write and one
// event, the least that any on etcd is made of.
const rawEtcdRing = "raw put → event, in a ring"

// ringSize is the number of processes that take turns.
const ringSize = 16

// ring is one process's place.
type ring struct {
	client *clientv3.Client
	cancel context.CancelFunc
	place  int
	events clientv3.WatchChan
	begins bool // nobody has put its key, and it goes on all the same
}

func ringKey(what string, place int) string { return "ring/" + what + "/" + strconv.Itoa(place) }

func openEtcdRing(url string) (*locker, error) {
	c, err := dialEtcd(url)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &ring{client: c, cancel: cancel}
	if err := r.join(ctx); err != nil {
		return nil, errors.Join(err, r.leave())
	}
	return &locker{lock: r.lock, close: r.leave}, nil
}

// join takes the first place that is free.
func (r *ring) join(ctx context.Context) error {
	for r.place = range ringSize {
		key := ringKey("place", r.place)
		free := clientv3.Compare(clientv3.CreateRevision(key), "=", 0)
		t, err := r.client.Txn(ctx).If(free).Then(clientv3.OpPut(key, "")).Commit()
		if err != nil {
			return err
		}
		if t.Succeeded {
			r.begins = r.place == 0
			r.events = r.client.Watch(ctx, ringKey("turn", r.place))
			return nil
		}
	}
	return fmt.Errorf("more than %d are in the ring", ringSize)
}

func (r *ring) lock(string) (unlock func() error, err error) {
	if r.begins {
		r.begins = false
		return r.pass, nil
	}
	e, ok := <-r.events
	if !ok {
		return nil, errors.New("the watch ended")
	}
	return r.pass, e.Err()
}

func (r *ring) pass() error {
	_, err := r.client.Put(context.Background(), ringKey("turn", (r.place+1)%ringSize), "")
	return err
}

func (r *ring) leave() error {
	_, err := r.client.Delete(context.Background(), ringKey("place", r.place))
	r.cancel()
	return errors.Join(err, r.client.Close())
}
