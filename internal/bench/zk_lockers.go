package main

import (
	"errors"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep"
)

// The contenders on a ZooKeeper.

const (
	goZKLock = "go-zk Lock"
	rawZK    = "raw create + delete"
)

// dialZK is a client as its users make it, once it has its session: what is asked
// before that fails where the first connection does.
func dialZK(url string) (*zk.Conn, error) {
	c, events, err := zk.Connect(hostsOf(url), lockstep.DefaultTTL, zk.WithLogInfo(false))
	if err != nil {
		return nil, err
	}
	guard := time.After(time.Minute)
	for {
		select {
		case e := <-events:
			if e.State == zk.StateHasSession {
				return c, nil
			}
		case <-guard:
			c.Close()
			return nil, errors.New("no session within a minute")
		}
	}
}

// openGoZK is go-zookeeper's Lock: no token, and no word of a session that ended.
func openGoZK(url string) (*locker, error) {
	c, err := dialZK(url)
	if err != nil {
		return nil, err
	}
	return &locker{
		lock: func(name string) (func() error, error) {
			l := zk.NewLock(c, "/go/"+name, zk.WorldACL(zk.PermAll))
			return l.Unlock, l.Lock()
		},
		close: func() error { c.Close(); return nil },
	}, nil
}

// openRawZK creates a node and deletes it: nobody can wait for it.
func openRawZK(url string) (*locker, error) {
	c, err := dialZK(url)
	if err != nil {
		return nil, err
	}
	return &locker{
		lock: func(name string) (func() error, error) {
			path := "/raw-" + strings.ReplaceAll(name, "/", "-")
			_, err := c.Create(path, []byte{}, zk.FlagEphemeral, zk.WorldACL(zk.PermAll))
			return func() error { return c.Delete(path, -1) }, err
		},
		close: func() error { c.Close(); return nil },
	}, nil
}
