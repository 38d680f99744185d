package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/zkengine"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// zkTable is one ZooKeeper server that syncs its log, as they do by default. The peer
// is go-zookeeper's own Lock, over the same client library. What the rows do is as on
// Redis; addresses are URLs, so that workers know which service they are for.
func zkTable() table {
	return table{"zk", []row{
		onZK{uncontended, zkUncontended},
		onZK{manyNames, zkManyNames},
		onZK{redisHandOff, zkHandOff},
		onZK{redisTurns16, zkTurns16},
		onZK{redisCrowd100, func(s *zkServer) row { return countedCrowdRow{s.counted()} }},
		onZK{redisHeld, func(s *zkServer) row { return countedHoldRow{s.counted()} }},
		onZK{redisWatch, zkWatch},
		onZK{redisWatchers, func(s *zkServer) row { return countedWatchersRow{s.counted()} }},
	}}
}

const (
	goZKLock = "go-zk Lock"
	rawZK    = "raw create + delete"
	zkScheme = "zk://"
)

func zkUncontended(s *zkServer) row {
	by := func(kind string) contender {
		return contender{kind, func(b *bench) (sampler, error) {
			p, err := startOn(clientCore(), "redis-lock", job{URL: s.url, Kind: kind, N: b.count(redisCycles / 3)})
			return lockProcess{p, func() order { return order{Do: "cycles"} }}, err
		}}
	}
	return contest{
		what: uncontended, unit: microseconds, ours: by(ourLocker), best: target{atMost: 1},
		peers: []rival{competitor(by(goZKLock)), forReference(by(rawZK))},
	}
}

func zkManyNames(s *zkServer) row {
	by := func(kind string) contender {
		return contender{kind, func(b *bench) (sampler, error) {
			p, err := start("redis-lock", job{URL: s.url, Kind: kind})
			span := b.while(2 * redisSpan)
			return lockProcess{p, func() order { return order{Do: "many", At: monotonic() + int64(span)} }}, err
		}}
	}
	return contest{
		what: manyNames, unit: perSecond, ours: by(ourLocker), best: target{atLeast: 1.2},
		peers: []rival{competitor(by(goZKLock)), forReference(by(rawZK))},
	}
}

func zkHandOff(s *zkServer) row {
	return contest{
		what: redisHandOff, unit: microseconds, ours: zkRelay(s, ourLocker), best: target{atMost: 1.1},
		peers: []rival{competitor(zkRelay(s, goZKLock))},
	}
}

func zkTurns16(s *zkServer) row {
	by := func(kind string) contender {
		return contender{kind, func(b *bench) (sampler, error) {
			t, err := newTurns(b, s.url, kind, 16)
			return t, err
		}}
	}
	return comparison{
		what: redisTurns16, unit: perSecond, ours: by(ourLocker), peer: by(goZKLock), target: target{atLeast: 0.9},
		also: longestWait(redisTurns16, goZKLock),
	}
}

func zkWatch(s *zkServer) row {
	return contest{what: redisWatch, unit: microseconds, ours: zkWatchRelay(s), peers: []rival{forReference(zkRawWatchRelay(s))}}
}

// zkServer is a real server, on a free port, for one row.
type zkServer struct {
	*zktest.Server

	url string
	tb  *serverTB
}

func startZK() (s *zkServer, err error) {
	s = &zkServer{tb: &serverTB{}}
	defer func() {
		if f, failed := recover().(serverFailed); failed {
			err = errors.Join(f.err, s.tb.end())
		}
	}()
	s.Server = zktest.Start(s.tb, zktest.Options{Tick: 2 * time.Second, JVM: []string{"-Xmx1g", "-XX:TieredStopAtLevel=4"}})
	s.url = zkScheme + s.Addr
	return s, s.pin()
}

func (s *zkServer) pin() error {
	if onCore(redisCore) == nil {
		return nil
	}
	out, err := exec.Command("taskset", "-a", "-c", "-p", strconv.Itoa(redisCore), strconv.Itoa(s.Pid())).CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("taskset: %w: %s", err, out), s.tb.end())
	}
	return nil
}

// onZK is a row that needs a server, and gets one for itself.
type onZK struct {
	what string
	row  func(s *zkServer) row
}

func (r onZK) name() string { return r.what }

func (r onZK) measure(b *bench) (lines []line, err error) {
	s, err := startZK()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.tb.end()) }()
	return r.row(s).measure(b)
}

// zkEngine is the engine of an address of this table.
func zkEngine(hosts string) (engine.Engine, error) {
	return zkengine.Driver.Open(context.Background(), engine.Target{Scheme: "zk", Hosts: []string{hosts}})
}

// dialZK is a client as its users make it.
func dialZK(url string) (*zk.Conn, error) {
	c, _, err := zk.Connect([]string{strings.TrimPrefix(url, zkScheme)}, lockstep.DefaultTTL, zk.WithLogInfo(false))
	return c, err
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
