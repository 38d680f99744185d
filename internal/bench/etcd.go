package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"
	"go.uber.org/zap"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/etcdengine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

// etcdTable is one etcd server that syncs its log. The peer is its own client's
// concurrency.Mutex. What the rows do is as on Redis; addresses are URLs, so that
// workers know which service they are for.
func etcdTable() table {
	return table{"etcd", []row{
		onEtcd{uncontended, etcdUncontended},
		onEtcd{manyNames, etcdManyNames},
		onEtcd{redisHandOff, etcdHandOff},
		onEtcd{redisTurns16, etcdTurns16},
		onEtcd{redisCrowd100, func(s *etcdServer) row { return countedCrowdRow{s.counted()} }},
		onEtcd{redisHeld, func(s *etcdServer) row { return countedHoldRow{s.counted()} }},
		onEtcd{redisWatch, etcdWatch},
		onEtcd{redisWatchers, func(s *etcdServer) row { return countedWatchersRow{s.counted()} }},
	}}
}

const (
	etcdMutex  = "concurrency.Mutex"
	rawEtcd    = "raw put and delete"
	etcdScheme = "etcd://"
)

func etcdUncontended(s *etcdServer) row {
	by := func(kind string) contender {
		return contender{kind, func(b *bench) (sampler, error) {
			p, err := startOn(clientCore(), "redis-lock", job{URL: s.url, Kind: kind, N: b.count(redisCycles / 3)})
			return lockProcess{p, func() order { return order{Do: "cycles"} }}, err
		}}
	}
	return contest{
		what: uncontended, unit: microseconds, ours: by(ourLocker), best: target{atMost: 1},
		peers: []rival{competitor(by(etcdMutex)), forReference(by(rawEtcd))},
	}
}

func etcdManyNames(s *etcdServer) row {
	by := func(kind string) contender {
		return contender{kind, func(b *bench) (sampler, error) {
			p, err := start("redis-lock", job{URL: s.url, Kind: kind})
			span := b.while(2 * redisSpan)
			return lockProcess{p, func() order { return order{Do: "many", At: monotonic() + int64(span)} }}, err
		}}
	}
	return contest{
		what: manyNames, unit: perSecond, ours: by(ourLocker), best: target{atLeast: 1.1},
		peers: []rival{competitor(by(etcdMutex)), forReference(by(rawEtcd))},
	}
}

func etcdHandOff(s *etcdServer) row {
	return contest{
		what: redisHandOff, unit: microseconds, ours: etcdRelay(s, ourLocker), best: target{atMost: 0.05},
		peers: []rival{floor(etcdRawRelay(s, rawDeleteEvent), target{atMost: 1.3}), competitor(etcdRelay(s, etcdMutex))},
	}
}

func etcdTurns16(s *etcdServer) row {
	by := func(kind string) contender {
		return contender{kind, func(b *bench) (sampler, error) {
			t, err := newTurns(b, s.url, kind, 16)
			return t, err
		}}
	}
	return comparison{
		what: redisTurns16, unit: perSecond, ours: by(ourLocker), peer: by(etcdMutex), target: target{atLeast: 10},
		also: longestWait(redisTurns16, etcdMutex),
	}
}

func etcdWatch(s *etcdServer) row {
	return contest{what: redisWatch, unit: microseconds, ours: etcdWatchRelay(s), peers: []rival{forReference(etcdRawRelay(s, rawPutEvent))}}
}

// etcdServer is a real server, on a free port, for one row.
type etcdServer struct {
	*etcdtest.Member

	url string
	tb  *serverTB
}

func startEtcd() (s *etcdServer, err error) {
	s = &etcdServer{tb: &serverTB{}}
	defer func() {
		if f, failed := recover().(serverFailed); failed {
			err = errors.Join(f.err, s.tb.end())
		}
	}()
	s.Member = etcdtest.Start(s.tb)
	s.url = s.URL()
	return s, s.pin()
}

func (s *etcdServer) pin() error {
	if onCore(redisCore) == nil {
		return nil
	}
	out, err := exec.Command("taskset", "-a", "-c", "-p", strconv.Itoa(redisCore), strconv.Itoa(s.Pid())).CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("taskset: %w: %s", err, out), s.tb.end())
	}
	return nil
}

// received is how many messages the server has been sent, those in streams among
// them: a watch that is made or ended is one.
func (s *etcdServer) received() (n int64, err error) {
	text, err := s.Metrics()
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "grpc_server_msg_received_total{") {
			continue
		}
		fields := strings.Fields(line)
		count, err := strconv.ParseFloat(fields[len(fields)-1], 64)
		if err != nil {
			return 0, err
		}
		n += int64(count)
	}
	return n, nil
}

// onEtcd is a row that needs a server, and gets one for itself.
type onEtcd struct {
	what string
	row  func(s *etcdServer) row
}

func (r onEtcd) name() string { return r.what }

func (r onEtcd) measure(b *bench) (lines []line, err error) {
	s, err := startEtcd()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.tb.end()) }()
	return r.row(s).measure(b)
}

// etcdEngine is the engine of an address of this table.
func etcdEngine(host string) (engine.Engine, error) {
	return etcdengine.Driver.Open(context.Background(), engine.Target{Scheme: "etcd", Hosts: []string{host}})
}

// dialEtcd is a client as its users make it, but for its log.
func dialEtcd(url string) (*clientv3.Client, error) {
	return clientv3.New(clientv3.Config{Endpoints: []string{strings.TrimPrefix(url, etcdScheme)}, Logger: zap.NewNop()})
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
