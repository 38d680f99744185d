package torture

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/etcdengine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
	"github.com/lockstep-go/lockstep/engine/zkengine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// place is a service with one who writes and those who follow, and what may go wrong
// between them.
type place struct {
	writer, reader *lockstep.Client
	write          func(ctx context.Context, changes int, made func(i int)) error
	up             upClock

	network   *faultnet.Proxy // of the readers; nil: there is none
	breakOff  func() (done bool)
	startOver func() (done bool)
	trim      func() int64 // forgets so much of how it became what it is; nil: cannot

	cuts, restarts atomic.Int64
}

// cut breaks off what may be broken off.
func (p *place) cut() {
	if p.breakOff() {
		p.cuts.Add(1)
	}
}

// restart kills, and starts again with what is on disk.
func (p *place) restart() {
	began := time.Now()
	if p.startOver() {
		p.restarts.Add(1)
	}
	p.up.down.Add(int64(time.Since(began)))
}

// leave keeps the readers away until comeBack.
func (p *place) leave() {
	if p.network != nil {
		p.network.Refuse()
		p.network.Cut()
	}
}

func (p *place) comeBack() {
	if p.network != nil {
		p.network.Heal()
	}
}

func (p *place) forget() int64 {
	if p.trim == nil {
		return 0
	}
	return p.trim()
}

// overNetwork is a place whose readers reach their server through a network, and whose
// writer does not. It makes so many changes in one commit.
func overNetwork(t *testing.T, scheme, addr string, proto faultnet.Protocol, d engine.Driver, together int) *place {
	t.Helper()
	p := &place{network: faultnet.New(t, addr, proto)}
	p.writer, p.reader = openURL(t, scheme+addr, d), openURL(t, scheme+p.network.Addr, d)
	p.breakOff = func() bool { p.network.Cut(); return true }
	p.write = func(ctx context.Context, changes int, made func(int)) error {
		w := work{m: p.writer.Map("m"), next: begun(), to: changes, together: together, due: atOnce, made: made}
		if soak() {
			w.due = p.up.due
		}
		return w.do(ctx)
	}
	return p
}

// openURL is a client that asks for as long as a test has patience.
func openURL(t *testing.T, url string, d engine.Driver) *lockstep.Client {
	t.Helper()
	c, err := lockstep.Open(guarded(t, hang), url, d, lockstep.WithTTL(hang), lockstep.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // the server may be gone by then
	return c
}

// onRedis: the server writes every command to disk before it answers, or a kill would
// have it forget what it had shown.
func onRedis(t *testing.T) *place {
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	p := overNetwork(t, "redis://", s.Addr, faultnet.RESP, redisengine.Driver, 1)
	p.startOver = func() bool { s.Kill(); s.Restart(); return true }
	p.trim = func() int64 {
		n, err := s.Do("XTRIM", "{m}:lockstep:log", "MAXLEN", "0")
		if err != nil {
			t.Error(err)
		}
		gone, _ := n.(int64)
		return gone
	}
	return p
}

// onEtcd: an administrator compacts to the present revision.
func onEtcd(t *testing.T) *place {
	s := etcdtest.Start(t)
	p := overNetwork(t, "etcd://", s.Addr, faultnet.Raw, etcdengine.Driver, 1)
	p.startOver = func() bool { s.Kill(); s.Start(); s.Ready(); return true }
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{s.Addr}, DialTimeout: hang})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { admin.Close() })
	var before int64
	p.trim = func() int64 {
		ctx, done := context.WithTimeout(t.Context(), hang)
		defer done()
		is, err := admin.Get(ctx, "m")
		if err == nil {
			_, err = admin.Compact(ctx, is.Header.GetRevision())
		}
		if err != nil {
			t.Error(err)
			return 0
		}
		gone := is.Header.GetRevision() - before
		before = is.Header.GetRevision()
		return gone
	}
	return p
}

// onZooKeeper: there is nothing to forget, as ZooKeeper keeps no log for clients. Whoever
// comes back has missed what happened. Commits of one map follow each other there, and
// each waits for the disk: as many changes are in each as a lane has keys.
func onZooKeeper(t *testing.T) *place {
	s := zktest.Start(t, zktest.Options{})
	p := overNetwork(t, "zk://", s.Addr, faultnet.Raw, zkengine.Driver, keys/lanes)
	p.startOver = func() bool { s.Restart(); return true }
	return p
}

// onFile: there is neither a connection nor a server. It is the writer, a process of its
// own, that is killed and started again. It makes changes as fast as it can, as it makes
// none while it is dead.
func onFile(t *testing.T) *place {
	w := &writerProcess{t: t, url: "file://" + t.TempDir()}
	p := &place{write: w.write, breakOff: w.kill, startOver: w.kill}
	p.writer, p.reader = openURL(t, w.url, sqliteengine.Driver), openURL(t, w.url, sqliteengine.Driver)
	return p
}

// shows says what is wrong with a trial in which too little went wrong, or too slowly.
func (p *place) shows(perSecond float64, forgotten int64, resyncs int) error {
	switch {
	case soak() && perSecond < rate:
		return fmt.Errorf("the writer made %.0f changes a second while the service was up, and not %d: this is not the trial", perSecond, rate)
	case p.cuts.Load()+p.restarts.Load() == 0:
		return fmt.Errorf("nothing was killed or cut: the trial shows little")
	case p.trim != nil && forgotten == 0:
		return fmt.Errorf("nothing was forgotten: the trial shows little")
	case p.network != nil && resyncs == 0:
		return fmt.Errorf("nothing was shown after a gap: the trial shows little")
	}
	return nil
}

// every calls f again and again until ctx ends.
func every(ctx context.Context, d time.Duration, f func()) {
	tick := time.NewTicker(d)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f()
		case <-ctx.Done():
			return
		}
	}
}
