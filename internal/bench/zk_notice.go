package main

import (
	"errors"

	"github.com/go-zookeeper/zk"
)

// A bare set, until another process has the event of its watch.
const (
	rawSetEvent = "raw set → event"

	rawWatched = "/raw-watched"
)

type rawSet struct {
	always

	conn *zk.Conn
}

func newRawSet(url string) (giver, error) {
	c, err := dialZK(url)
	if err != nil {
		return nil, err
	}
	if _, err := c.Create(rawWatched, []byte{}, zk.FlagPersistent, zk.WorldACL(zk.PermAll)); err != nil && !errors.Is(err, zk.ErrNodeExists) {
		c.Close()
		return nil, err
	}
	return rawSet{conn: c}, nil
}

func (r rawSet) close() error { r.conn.Close(); return nil }
func (r rawSet) give() error {
	_, err := r.conn.Set(rawWatched, []byte("value"), -1)
	return err
}

// newSetWatcher watches anew after each event, as its user has to.
func newSetWatcher(url string) (worker, error) {
	c, err := dialZK(url)
	if err != nil {
		return nil, err
	}
	_, _, events, err := c.GetW(rawWatched)
	if err != nil {
		c.Close()
		return nil, err
	}
	next := func() (int64, error) {
		ev := <-events
		at := monotonic()
		if ev.Err != nil {
			return 0, ev.Err
		}
		var err error
		_, _, events, err = c.GetW(rawWatched)
		return at, err
	}
	return waiterRole{next, func() error { c.Close(); return nil }}, nil
}
