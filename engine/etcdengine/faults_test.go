package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
	"github.com/lockstep-go/lockstep/internal/faultnet"
)

// The experiment: a holder of TTL 3 s has renewed for some time when its network
// becomes a black hole. Somebody else waits. Who knows first, the holder that its lock
// is lost, or the other that it has it?
const windowTTL = 3 * time.Second

// late is what replies take on the way to the holder: who measures from when they came
// believes for so much too long.
const late = 100 * time.Millisecond

// told is when a context ended.
func told(ctx context.Context) <-chan time.Time {
	at := make(chan time.Time, 1)
	context.AfterFunc(ctx, func() { at <- time.Now() })
	return at
}

func TestSoakTheHoldersContextIsDoneBeforeTheNextGrant(t *testing.T) {
	const lanes = 10
	s := start(t)
	other := core(t, []string{s.Addr}, 10*windowTTL) // it is the holder's that counts
	var mu sync.Mutex
	var margins []time.Duration
	for round := range tries(1, 100) {
		var running sync.WaitGroup
		for lane := range lanes {
			running.Go(func() {
				phase := time.Duration(round*lanes+lane) * 7 % 1000 * time.Millisecond // every phase of the renewals is met
				m, err := loseIt(t, s.Addr, other, fmt.Sprintf("n%d-%d", round, lane), phase)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				margins = append(margins, m)
			})
		}
		running.Wait()
	}
	slices.Sort(margins)
	if len(margins) == 0 {
		t.Fatal("no run")
	}
	t.Logf("%d runs: the window ended %.3f ms or more before the next grant (median %.3f ms)",
		len(margins), margins[0].Seconds()*1000, margins[len(margins)/2].Seconds()*1000)
	if margins[0] <= 0 {
		t.Error("a window ended after the next grant (S1)")
	}
}

// loseIt is the experiment: from the end of the holder's window to the other's Lock
// returning. That its context is done by then is seen at that moment.
func loseIt(t *testing.T, addr string, other *lockstep.Client, name string, phase time.Duration) (time.Duration, error) {
	p := faultnet.New(t, addr, faultnet.Raw)
	ctx := guarded(t)
	p.Delay(0, late)
	holder := core(t, []string{p.Addr}, windowTTL)
	l, err := holder.Mutex(name).Lock(ctx)
	if err != nil {
		return 0, err
	}
	type outcome struct {
		lease *lockstep.Lease
		at    time.Time
		err   error
	}
	next := make(chan outcome, 1)
	go func() {
		l, err := other.Mutex(name).Lock(ctx)
		next <- outcome{l, time.Now(), err}
	}()
	<-time.After(time.Second + phase) // the experiment's time, and no synchronisation
	p.Blackhole()
	o := <-next
	alive := l.Err() == nil
	defer p.Heal()
	if o.err != nil {
		return 0, o.err
	}
	if alive {
		t.Errorf("%s: the holder believes when the other has the lock (S1)", name)
	}
	if o.lease.Token() <= l.Token() {
		t.Errorf("%s: token %d after %d", name, o.lease.Token(), l.Token())
	}
	return o.at.Sub(l.Until()), o.lease.Release(ctx)
}

// The same with a peer: the next holder comes before the first is told. If it never
// did, the experiment would show nothing.
func TestSoakTheExperimentBites(t *testing.T) {
	const lanes = 8
	s := start(t)
	var mu sync.Mutex
	var early []time.Duration
	for range tries(1, 10) {
		var running sync.WaitGroup
		for lane := range lanes {
			running.Go(func() {
				d, err := losePeers(t, s.Addr, fmt.Sprintf("n%d", lane), time.Duration(lane)*125*time.Millisecond)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
					return
				}
				early = append(early, d)
			})
		}
		running.Wait()
	}
	overlaps := slices.DeleteFunc(slices.Clone(early), func(d time.Duration) bool { return d <= 0 })
	slices.Sort(overlaps)
	t.Logf("concurrency.Session: in %d of %d runs the next was granted before the first was told", len(overlaps), len(early))
	if len(overlaps) == 0 {
		t.Fatal("the peer's holder was always told first: the experiment shows nothing")
	}
	t.Logf("by %v at most", overlaps[len(overlaps)-1])
}

func losePeers(t *testing.T, addr, name string, phase time.Duration) (time.Duration, error) {
	p := faultnet.New(t, addr, faultnet.Raw)
	defer p.Heal()
	ctx := guarded(t)
	session := func(addr string) (*concurrency.Session, error) {
		return concurrency.NewSession(admin(t, addr), concurrency.WithTTL(int(windowTTL/time.Second)), concurrency.WithContext(ctx))
	}
	holder, err := session(p.Addr)
	if err != nil {
		return 0, err
	}
	other, err := session(addr)
	if err != nil {
		return 0, err
	}
	if err := concurrency.NewMutex(holder, name).Lock(ctx); err != nil {
		return 0, err
	}
	done := make(chan time.Time, 1)
	go func() { <-holder.Done(); done <- time.Now() }()
	p.Delay(0, late)
	go func() { <-time.After(time.Second + phase); p.Blackhole() }()
	next := concurrency.NewMutex(other, name)
	if err := next.Lock(ctx); err != nil {
		return 0, err
	}
	granted := time.Now()
	defer next.Unlock(ctx)
	select {
	case at := <-done:
		return at.Sub(granted), nil
	case <-ctx.Done():
		return 0, errors.New("the peer's holder is never told")
	}
}

// awaitWaiter returns when somebody is in line behind the holder.
func awaitWaiter(t *testing.T, c *lockstep.Client, name string) {
	t.Helper()
	ctx := guarded(t)
	await(t, "somebody to wait", func() bool {
		l, err := c.Line(ctx, name)
		return err == nil && len(l.Waiters) == 1
	})
}

// three is a cluster whose members can be cut off from each other.
func three(t *testing.T) (c *etcdtest.Cluster, leader int) {
	t.Helper()
	c = etcdtest.StartWith(t, etcdtest.Options{Members: 3, Peers: true, Args: unsafe})
	leader, ok := c.Leader()
	if !ok {
		t.Fatal("no leader")
	}
	return c, leader
}

// A holder knows one member only, with which something happens. Somebody who knows the
// others waits.
func TestTheHolderIsToldFirstWhateverHappensToItsMember(t *testing.T) {
	for _, f := range []struct {
		what     string
		follower bool
		fault    func(c *etcdtest.Cluster, i int)
		heal     func(c *etcdtest.Cluster, i int)
	}{
		{"its leader is stopped", false,
			func(c *etcdtest.Cluster, i int) { c.Members[i].Pause() }, func(c *etcdtest.Cluster, i int) { c.Members[i].Continue() }},
		{"its leader is cut off", false,
			func(c *etcdtest.Cluster, i int) { c.Peers.Isolate(i) }, func(c *etcdtest.Cluster, _ int) { c.Peers.Heal() }},
		{"its follower is cut off", true,
			func(c *etcdtest.Cluster, i int) { c.Peers.Isolate(i) }, func(c *etcdtest.Cluster, _ int) { c.Peers.Heal() }},
		{"its follower is stopped", true,
			func(c *etcdtest.Cluster, i int) { c.Members[i].Pause() }, func(c *etcdtest.Cluster, i int) { c.Members[i].Continue() }},
	} {
		t.Run(f.what, func(t *testing.T) {
			t.Parallel()
			c, i := three(t)
			if f.follower {
				i = (i + 1) % 3
			}
			holder := core(t, []string{c.Members[i].Addr}, windowTTL)
			other := core(t, []string{c.Members[(i+1)%3].Addr, c.Members[(i+2)%3].Addr}, 10*windowTTL)
			ctx := guarded(t)
			l, err := holder.Mutex("n").Lock(ctx)
			if err != nil {
				t.Fatal(err)
			}
			ended := told(l.Context())
			next := make(chan error, 1)
			var token lockstep.Token
			var alive bool
			go func() {
				l2, err := other.Mutex("n").Lock(ctx)
				if alive = l.Err() == nil; err == nil {
					token = l2.Token()
				}
				next <- err
			}()
			awaitWaiter(t, other, "n")
			f.fault(c, i)
			if err := <-next; err != nil {
				t.Fatal(err)
			}
			if alive || token <= l.Token() {
				t.Errorf("the next has token %d after %d; the holder believes: %v (S1, S2)", token, l.Token(), alive)
			}
			<-ended
			f.heal(c, i)
			c.Members[i].Ready()
			again, err := holder.Mutex("another").Lock(ctx)
			if err != nil {
				t.Fatalf("after healing: %v", err)
			}
			if err := again.Release(ctx); err != nil {
				t.Error(err)
			}
		})
	}
}

// Who knows all members keeps what it holds when one goes.
func TestLosingOneMemberLosesNoLock(t *testing.T) {
	c, leader := three(t)
	client := core(t, c.Addrs(), 20*time.Second)
	ctx := guarded(t)
	l, err := client.Mutex("n").Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	until := l.Until()
	c.Members[leader].Kill()
	await(t, "two renewals", func() bool { return l.Until().After(until.Add(5 * time.Second)) })
	c.Members[leader].Start()
	c.Members[leader].Ready()
	if err := l.Release(ctx); err != nil {
		t.Errorf("after the leader was killed: %v", err)
	}
}

// Locks, values and a watch go on while leaders are killed and stopped.
func TestSoakLeadersComeAndGo(t *testing.T) {
	c, _ := three(t)
	ctx := t.Context() // each step has a guard of its own
	var mu sync.Mutex
	inside, last, turns := 0, lockstep.Token(0), 0
	stop := make(chan struct{})
	var workers sync.WaitGroup
	defer workers.Wait()
	defer close(stop)
	for range 3 {
		client := core(t, c.Addrs(), 20*time.Second)
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				l, err := client.Mutex("n").Lock(ctx)
				if err != nil {
					if !errors.Is(err, lockstep.ErrUnavailable) {
						t.Errorf("Lock: %v", err)
						return
					}
					continue
				}
				mu.Lock()
				inside++
				if inside > 1 || l.Token() <= last {
					t.Errorf("%d inside, token %d after %d", inside, l.Token(), last)
				}
				last, turns = l.Token(), turns+1
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				if err := l.Release(ctx); err != nil && !errors.Is(err, lockstep.ErrLost) {
					t.Errorf("Release: %v", err)
				}
			}
		})
	}
	taken := func() int { mu.Lock(); defer mu.Unlock(); return turns }
	more := func() {
		before := taken()
		await(t, "locks to change hands", func() bool { return taken() > before+3 })
	}
	for i := range tries(2, 20) {
		more()
		leader := -1
		await(t, "a leader", func() (ok bool) { leader, ok = c.Leader(); return ok })
		m := c.Members[leader]
		if i%2 == 0 {
			m.Kill()
			more()
			m.Start()
		} else {
			m.Pause()
			more()
			m.Continue()
		}
		m.Ready()
	}
}

func TestWithoutAQuorumCallsEndWithTheirContext(t *testing.T) {
	c, leader := three(t)
	e := openOn(t, []string{c.Members[leader].Addr}, map[string]string{"timeout": "1h"})
	s := begin(t, e, engine.SessionOptions{})
	held := mutex("held")
	s.take(held)
	var others []*etcdtest.Member
	for i, m := range c.Members {
		if i != leader {
			m.Pause()
			others = append(others, m)
		}
	}
	calls := map[string]func(ctx context.Context) error{
		"Acquire": func(ctx context.Context) error { _, err := s.Acquire(ctx, mutex("n"), false); return err },
		"Release": func(ctx context.Context) error { _, err := s.Release(ctx, held); return err },
		"Renew":   func(ctx context.Context) error { _, err := s.Renew(ctx, nil); return err },
		"Line":    func(ctx context.Context) error { _, err := e.Line(ctx, "n"); return err },
		"Begin": func(ctx context.Context) error {
			_, err := e.Begin(ctx, engine.SessionOptions{TTL: time.Minute})
			return err
		},
		"Get":  func(ctx context.Context) error { _, err := e.Store().Get(ctx, "m", "k"); return err },
		"List": func(ctx context.Context) error { _, err := e.Store().List(ctx, "m"); return err },
		"Commit": func(ctx context.Context) error {
			_, err := e.Store().Commit(ctx, "m", engine.Tx{ID: "1", Put: []engine.Entry{{Key: "k"}}})
			return err
		},
	}
	for what, call := range calls {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		if err := call(ctx); err == nil || engine.Definite(err) {
			t.Errorf("%s without a quorum: %v, want an error that leaves it open", what, err)
		}
		cancel()
	}
	for _, m := range others {
		m.Continue()
	}
	c.Members[leader].Ready()
	if err := renewed(s.Session, []*engine.Claim{held}); err != nil {
		t.Errorf("after healing: %v", err)
	}
	q := mutex("after")
	s.take(q)
	s.give(q)
}

// A watcher that was cut off while the map changed and was compacted is shown where it
// stands now, deletions too (S9).
func TestAWatcherCutOffDuringACompactionMissesNothing(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := faultnet.New(t, s.Addr, faultnet.Raw)
	a := admin(t, s.Addr)
	watcher := core(t, []string{p.Addr}, 10*time.Second)
	ctx := guarded(t)
	for _, k := range []string{"goes", "stays"} {
		if _, err := a.Put(ctx, "m/"+k, "1"); err != nil {
			t.Fatal(err)
		}
	}
	known, cut := map[string]string{}, false
	for change, err := range watcher.Map("m").Watch(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		switch change.Op {
		case lockstep.OpPut:
			known[change.Key] = string(change.Value)
		case lockstep.OpDelete:
			delete(known, change.Key)
		}
		if !cut && len(known) == 2 {
			cut = true
			p.Refuse()
			p.Cut()
			for _, op := range []clientv3.Op{clientv3.OpDelete("m/goes"), clientv3.OpPut("m/new", "2"), clientv3.OpPut("m/stays", "2")} {
				if _, err := a.Do(ctx, op); err != nil {
					t.Fatal(err)
				}
			}
			compact(t, a)
			p.Heal()
		}
		if _, goes := known["goes"]; !goes && known["new"] == "2" && known["stays"] == "2" {
			return
		}
	}
	t.Errorf("the watcher knows %v", known)
}

func TestAFullDatabaseIsAClearErrorAndHealsWithoutLoss(t *testing.T) {
	t.Parallel()
	s := etcdtest.Start(t, append([]string{"--quota-backend-bytes", "4000000"}, unsafe...)...)
	a := admin(t, s.Addr)
	client := core(t, []string{s.Addr}, 10*time.Second)
	ctx := guarded(t)
	l, err := client.Mutex("held").Lock(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		if _, err := a.Put(ctx, fmt.Sprintf("fill/%d", i%3), strings.Repeat("x", 500_000)); err != nil {
			break
		}
	}
	_, err = client.Mutex("n").Lock(ctx)
	if !errors.Is(err, lockstep.ErrUnavailable) || !strings.Contains(err.Error(), "the database is full") {
		t.Errorf("Lock: %v", err)
	}
	_, err = client.Map("m").Put(ctx, "k", nil)
	if err == nil || !strings.Contains(err.Error(), "the database is full") {
		t.Errorf("Put: %v", err)
	}
	until := l.Until()
	await(t, "a renewal", func() bool { return l.Until().After(until) })
	if err := l.Release(ctx); err != nil {
		t.Errorf("Release: %v", err)
	}
	compact(t, a)
	if _, err := a.Defragment(ctx, s.Addr); err != nil {
		t.Fatal(err)
	}
	if _, err := a.AlarmDisarm(ctx, &clientv3.AlarmMember{}); err != nil {
		t.Fatal(err)
	}
	if l, err = client.Mutex("n").Lock(ctx); err != nil {
		t.Fatalf("after healing: %v", err)
	}
	if err := l.Release(ctx); err != nil {
		t.Error(err)
	}
}
