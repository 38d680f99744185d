package etcdengine

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/need"
)

// Beside etcd's own clients: etcdctl of Debian and package concurrency.

// etcdctl runs the program, and hands on the lines that it prints.
type etcdctl struct {
	t     *testing.T
	cmd   *exec.Cmd
	lines chan string
}

func runEtcdctl(t *testing.T, addr string, args ...string) *etcdctl {
	t.Helper()
	path := need.Program(t, "etcdctl", "etcd-client")
	args = append([]string{"--endpoints", addr, "--dial-timeout", "40s", "--command-timeout", "40s"}, args...)
	c := &etcdctl{t: t, cmd: exec.Command(path, args...), lines: make(chan string, 100)}
	c.cmd.Env = append(os.Environ(), "ETCDCTL_API=3")
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(c.lines)
		for s := bufio.NewScanner(out); s.Scan(); {
			c.lines <- s.Text()
		}
	}()
	t.Cleanup(func() { _ = c.cmd.Process.Kill(); _ = c.cmd.Wait() })
	return c
}

// line is the next one; an end of the output is "".
func (c *etcdctl) line() string { return <-c.lines }

// interrupt has it give back what it holds.
func (c *etcdctl) interrupt() {
	c.t.Helper()
	if err := c.cmd.Process.Signal(syscall.SIGINT); err != nil {
		c.t.Fatal(err)
	}
}

func TestEtcdctlsLockAndOursExcludeEachOther(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})

	theirs := runEtcdctl(t, s.Addr, "lock", "n")
	key := theirs.line()
	_, err := c.Acquire(c.ctx, try(mutex("n")), false)
	var held *engine.HeldError
	if !errors.As(err, &held) || !held.Line.Holders[0].Foreign || "n/"+string(held.Line.Holders[0].ID) != key {
		t.Fatalf("Try of what etcdctl holds under %q: %v", key, err)
	}
	ours := mutex("n")
	q := c.queue(ours)
	theirs.interrupt()
	q.granted()

	next := runEtcdctl(t, s.Addr, "lock", "n", "echo", "theirs")
	await(t, "etcdctl to wait", func() bool {
		l, err := c.e.Line(c.ctx, "n")
		return err == nil && len(l.Waiters) == 1 && l.Waiters[0].Foreign
	})
	c.give(ours)
	if got := next.line(); got != "theirs" {
		t.Errorf("etcdctl printed %q", got)
	}
}

func TestEtcdctlElectsAndOursLeadInTurn(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})

	theirs := runEtcdctl(t, s.Addr, "elect", "n", "theirs")
	theirs.line() // the key
	if got := theirs.line(); got != "theirs" {
		t.Fatalf("etcdctl elect printed %q", got)
	}
	if l, err := c.e.Line(c.ctx, "n"); err != nil || string(l.Holders[0].Note) != "theirs" || !l.Holders[0].Foreign {
		t.Fatalf("the line under a foreign leader: %+v, %v", l, err)
	}
	ours := election("ours")
	q := c.queue(ours)
	listens := runEtcdctl(t, s.Addr, "elect", "--listen", "n")
	listens.line()
	if got := listens.line(); got != "theirs" {
		t.Errorf("etcdctl elect -l printed %q", got)
	}
	theirs.interrupt()
	g := q.granted()
	listens.line()
	if got := listens.line(); got != "ours" {
		t.Errorf("etcdctl elect -l printed %q under our leader", got)
	}
	if l, err := c.e.Line(c.ctx, "n"); err != nil || l.Holders[0].Token != g.Token {
		t.Errorf("observers see %+v, the leader has token %d; %v", l.Holders, g.Token, err)
	}
	next := runEtcdctl(t, s.Addr, "elect", "n", "theirs again")
	await(t, "etcdctl to campaign", func() bool {
		l, err := c.e.Line(c.ctx, "n")
		return err == nil && len(l.Waiters) == 1
	})
	c.give(ours)
	next.line()
	if got := next.line(); got != "theirs again" {
		t.Errorf("etcdctl elect printed %q", got)
	}
}

func TestEtcdctlSeesOurEntriesAndWeSeeIts(t *testing.T) {
	t.Parallel()
	s := start(t)
	e := openOn(t, []string{s.Addr}, nil)
	ctx := guarded(t)
	run := func(args ...string) string {
		t.Helper()
		c := runEtcdctl(t, s.Addr, args...)
		var all []string
		for l := range c.lines {
			all = append(all, l)
		}
		return strings.Join(all, " ")
	}
	run("put", "m/a", "theirs")
	run("put", "m", "the empty key")
	var events []string
	watch := runEtcdctl(t, s.Addr, "watch", "--prefix", "--rev", "1", "m")
	for ev, err := range e.Store().Watch(ctx, "m", 0) {
		if err != nil {
			t.Fatal(err)
		}
		for _, entry := range ev.Entries {
			events = append(events, fmt.Sprintf("%s=%s/%v", entry.Key, entry.Value, entry.Deleted))
		}
		switch {
		case ev.Full:
			if _, err := e.Store().Commit(ctx, "m", engine.Tx{ID: "1", Put: []engine.Entry{{Key: "b", Value: []byte("ours")}}}); err != nil {
				t.Fatal(err)
			}
		case len(events) == 3:
			run("del", "m/a")
		}
		if len(events) == 4 {
			break
		}
	}
	if want := []string{"=the empty key/false", "a=theirs/false", "b=ours/false", "a=/true"}; !slices.Equal(events, want) {
		t.Errorf("our watch saw %q, want %q", events, want)
	}
	if got := run("get", "--print-value-only", "m/b"); got != "ours" {
		t.Errorf("etcdctl get: %q", got)
	}
	var theirs []string
	for len(theirs) < 11 {
		theirs = append(theirs, watch.line())
	}
	if want := "PUT m/a theirs PUT m the empty key PUT m/b ours DELETE m/a"; strings.Join(theirs, " ") != want {
		t.Errorf("etcdctl watch: %q, want %q", strings.Join(theirs, " "), want)
	}
}

// foreignSession is package concurrency's own.
func foreignSession(t *testing.T, c *clientv3.Client) *concurrency.Session {
	t.Helper()
	s, err := concurrency.NewSession(c, concurrency.WithTTL(60))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// Both take turns on one name, and the tokens, theirs too, rise.
func TestOursAndConcurrencysMutexesTakeTurns(t *testing.T) {
	t.Parallel()
	s := start(t)
	e := openOn(t, []string{s.Addr}, nil)
	ctx := guarded(t)
	const each = 15
	var mu sync.Mutex
	inside, last := 0, int64(0)
	turn := func(who string, token int64) {
		mu.Lock()
		inside++
		if inside != 1 || token <= last {
			t.Errorf("%s: %d inside, token %d after %d", who, inside, token, last)
		}
		last = token
		mu.Unlock()
	}
	leave := func() { mu.Lock(); inside--; mu.Unlock() }
	var all sync.WaitGroup
	for range 2 {
		ours := begin(t, e, engine.SessionOptions{})
		theirs := concurrency.NewMutex(foreignSession(t, admin(t, s.Addr)), "n")
		all.Go(func() {
			for range each {
				cl := mutex("n")
				g, err := ours.Acquire(ctx, cl, false)
				if err != nil {
					t.Error(err)
					return
				}
				turn("ours", int64(g.Token))
				leave()
				ours.Release(ctx, cl)
			}
		})
		all.Go(func() {
			for range each {
				if err := theirs.Lock(ctx); err != nil {
					t.Error(err)
					return
				}
				turn("theirs", theirs.Header().GetRevision())
				leave()
				theirs.Unlock(ctx)
			}
		})
	}
	all.Wait()
}

func TestConcurrencysElectionsSeeOurLeaders(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	theirs := concurrency.NewElection(foreignSession(t, admin(t, s.Addr)), "n")
	ours := election("ours")
	c.take(ours)
	r, err := theirs.Leader(c.ctx)
	if err != nil || string(r.Kvs[0].GetValue()) != "ours" {
		t.Fatalf("their Leader: %v, %v", r, err)
	}
	if err := c.SetNote(c.ctx, ours, []byte("proclaimed")); err != nil {
		t.Fatal(err)
	}
	observed := theirs.Observe(c.ctx)
	if r := <-observed; string(r.Kvs[0].GetValue()) != "proclaimed" {
		t.Errorf("their Observe: %v", r)
	}
	led := make(chan error, 1)
	go func() { led <- theirs.Campaign(c.ctx, "theirs") }()
	await(t, "them to campaign", func() bool {
		l, err := c.e.Line(c.ctx, "n")
		return err == nil && len(l.Waiters) == 1
	})
	c.give(ours)
	if err := <-led; err != nil {
		t.Errorf("their Campaign: %v", err)
	}
}

// The peer's session lets both in.
func TestTwoGoroutinesOfOneSessionExcludeEachOther(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	var mu sync.Mutex
	inside := 0
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				cl := mutex("n")
				if _, err := c.Acquire(c.ctx, cl, false); err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if inside++; inside > 1 {
					t.Errorf("%d inside", inside)
				}
				mu.Unlock()
				mu.Lock()
				inside--
				mu.Unlock()
				c.Release(c.ctx, cl)
			}
		})
	}
	all.Wait()
}

// A foreign session gives back and enters again under the same key: whoever waits for
// that key to vanish may wait for ever.
func TestSoakAReusedPredecessorsKeyIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := start(t)
	foreign := admin(t, s.Addr)
	theirs := concurrency.NewMutex(foreignSession(t, foreign), "n")
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	for i := range tries(30, 300) {
		if err := theirs.Lock(c.ctx); err != nil {
			t.Fatal(err)
		}
		ours := mutex("n")
		granted := make(chan error, 1)
		go func() { _, err := c.Acquire(c.ctx, ours, false); granted <- err }()
		for { // they give back as we enter, at no chosen moment, and enter again
			r, err := foreign.Get(c.ctx, "n/", clientv3.WithPrefix(), clientv3.WithCountOnly())
			if err != nil {
				t.Fatal(err)
			}
			if r.Count > 1 {
				break
			}
		}
		again := make(chan error, 1)
		if err := theirs.Unlock(c.ctx); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(c.ctx)
		go func() { again <- theirs.Lock(ctx) }()
		if err := <-granted; err != nil {
			t.Fatalf("try %d: %v", i, err)
		}
		c.give(ours)
		if err := <-again; err != nil {
			t.Fatalf("try %d, theirs: %v", i, err)
		}
		if err := theirs.Unlock(c.ctx); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
}

// What stands in a claim's place and is none does not make a lock wait.
func TestEntriesAndNestedNamesMakeNoLockWait(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := admin(t, s.Addr)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	for _, key := range []string{"n/1f", "n/limit", "n/a/b", "n"} {
		if _, err := a.Put(c.ctx, key, "an entry"); err != nil {
			t.Fatal(err)
		}
	}
	c.take(mutex("n/a"))
	for _, k := range []engine.Kind{engine.Mutex, engine.Election, engine.Semaphore} {
		first, second := newClaim("n", k), newClaim("n", k)
		c.take(first)
		q := c.queue(second)
		if _, err := c.Acquire(c.ctx, try(newClaim("n", k)), false); !errors.Is(err, engine.ErrHeld) {
			t.Errorf("%v: Try of what is held: %v", k, err)
		}
		c.give(first)
		q.granted()
		c.give(second)
		c.take(try(first))
		c.give(first)
	}
	ev, err := c.e.Store().List(c.ctx, "n")
	if err != nil || len(ev.Entries) != 4 {
		t.Errorf("the map beside the locks: %+v, %v", ev.Entries, err)
	}
}

// A foreign claim is none of the map's entries, and no write of ours ends it.
func TestAForeignClaimIsNoEntryAndIsNotOverwritten(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := admin(t, s.Addr)
	e := openOn(t, []string{s.Addr}, nil)
	ctx := guarded(t)
	session := foreignSession(t, a)
	theirs := concurrency.NewMutex(session, "n")
	if err := theirs.Lock(ctx); err != nil {
		t.Fatal(err)
	}
	before := e.Store()
	listed, err := before.List(ctx, "n")
	if err != nil || len(listed.Entries) > 0 {
		t.Errorf("List: %+v, %v", listed, err)
	}
	_, err = before.Commit(ctx, "n", engine.Tx{Put: []engine.Entry{{Key: fmt.Sprintf("%x", session.Lease()), Value: []byte("x")}}})
	if !errors.Is(err, engine.ErrMismatch) {
		t.Errorf("a commit over a foreign claim: %v, want ErrMismatch", err)
	}
	if err := theirs.Unlock(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := before.Commit(ctx, "n", engine.Tx{Put: []engine.Entry{{Key: "k"}}}); err != nil {
		t.Fatal(err)
	}
	for ev, err := range before.Watch(ctx, "n", listed.Revision) {
		if err != nil {
			t.Fatal(err)
		}
		if len(ev.Entries) == 0 {
			continue
		}
		if len(ev.Entries) != 1 || ev.Entries[0].Key != "k" {
			t.Errorf("the watch shows %+v", ev.Entries)
		}
		break
	}
}
