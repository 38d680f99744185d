package etcdengine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/childproc"
	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

func TestARenewalIsThreeRequestsWhateverTheNumberOfClaims(t *testing.T) {
	t.Parallel()
	s := start(t)
	var requests atomic.Int64
	e, err := FromClient(guarded(t), newClient(t, []string{s.Addr}, &requests))
	if err != nil {
		t.Fatal(err)
	}
	e.owned = true
	t.Cleanup(func() { e.Close() })
	c := begin(t, e, engine.SessionOptions{})
	claims := make([]*engine.Claim, tries(500, 10_000))
	for i := range claims {
		claims[i] = mutex(fmt.Sprintf("n%d", i))
		c.take(claims[i])
	}
	before := requests.Load()
	r, err := c.Renew(c.ctx, claims)
	if err != nil || len(r.Lost)+len(r.Unsure) > 0 {
		t.Fatalf("%+v, %v", r, err)
	}
	if n := requests.Load() - before; n != 3 {
		t.Errorf("a renewal of %d claims was %d requests, want a keep-alive, a list and a read", len(claims), n)
	}
}

// A key that is bound to the session and no claim's: as a put leaves it that stood
// still in a member until its claim had been withdrawn.
func TestAGhostIsRemovedAtItsSecondRenewal(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := admin(t, s.Addr)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{TTL: 20 * time.Second})
	held, ghost := mutex("held"), mutex("n")
	c.take(held)
	sh, _ := shapeOf(ghost)
	foreign := "n/not-ours"
	for _, key := range []string{"n/" + c.restOf(ghost, sh), foreign} {
		if _, err := a.Put(c.ctx, key, "", clientv3.WithLease(c.lease)); err != nil {
			t.Fatal(err)
		}
	}
	there := func(key string) bool {
		r, err := a.Get(c.ctx, key)
		if err != nil {
			t.Fatal(err)
		}
		return len(r.Kvs) > 0
	}
	first := time.Now()
	renew := func() {
		if _, err := c.Renew(c.ctx, []*engine.Claim{held}); err != nil {
			t.Fatal(err)
		}
	}
	renew()
	renew()
	if early := time.Since(first) < c.ttl/4; early && !there("n/"+c.restOf(ghost, sh)) {
		t.Error("it was removed though it may have been made since claims were put together")
	}
	await(t, "the ghost to go", func() bool { renew(); return !there("n/" + c.restOf(ghost, sh)) })
	if !there(foreign) || !there("held/"+c.restOf(held, sh)) {
		t.Error("what is not a ghost went too")
	}
}

// The same as it comes about: a member stands still with the put in it.
func TestSoakAPutDelayedInAStoppedMemberLeavesNoGhost(t *testing.T) {
	c := etcdtest.StartWith(t, etcdtest.Options{Members: 3, Args: unsafe})
	leader, _ := c.Leader()
	follower := c.Members[(leader+1)%3]
	all := begin(t, openOn(t, []string{c.Members[leader].Addr}, nil), engine.SessionOptions{TTL: 60 * time.Second})
	through := openOn(t, []string{follower.Addr}, nil)
	ghosts := 0
	runs := tries(3, 300)
	for i := range runs {
		cl := mutex(fmt.Sprintf("n%d", i))
		follower.Pause()
		ctx, cancel := context.WithCancel(all.ctx)
		delayed := &Session{ // the same one, through the member that stands still
			e: through, lease: all.lease, hex: all.hex, key: all.key, ttl: all.ttl, ctx: all.Session.ctx, cancel: all.cancel,
			seats: all.seats, waiting: map[engine.ClaimID][]*waiting{},
		}
		gaveUp := make(chan struct{})
		go func() { defer close(gaveUp); delayed.Acquire(ctx, cl, false) }()
		time.AfterFunc(20*time.Millisecond, cancel)
		<-gaveUp
		if _, err := all.Release(all.ctx, cl); err != nil { // the withdrawal comes first
			t.Fatal(err)
		}
		follower.Continue()
		follower.Ready()
		all.ttl = 0 // any two renewals are far enough apart
		there := func() bool {
			l, err := all.e.Line(all.ctx, cl.Name)
			if err != nil {
				t.Fatal(err)
			}
			return len(l.Holders) > 0
		}
		for came, goes := there(), true; goes; came = goes {
			if came {
				ghosts++
			}
			for range 2 {
				if err := renewed(all.Session, nil); err != nil {
					t.Fatal(err)
				}
			}
			if goes = there(); came && goes { // else it came during these
				t.Fatalf("run %d: it is there before two renewals, and after them", i)
			}
		}
	}
	t.Logf("%d runs: %d puts came after their withdrawal; none was left", runs, ghosts)
}

// renewed insists as the core does.
func renewed(s *Session, claims []*engine.Claim) (err error) {
	for range 100 {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, err = s.Renew(ctx, claims)
		cancel()
		if err == nil || engine.Definite(err) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

// The peer's Campaign returns nil for a key that is gone.
func TestACampaignerWhoseKeyWasDeletedDoesNotLead(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := admin(t, s.Addr)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	leads, campaigns := election("leads"), election("campaigns")
	c.take(leads)
	q := c.queue(campaigns)
	sh, _ := shapeOf(campaigns)
	if _, err := a.Delete(c.ctx, "n/"+c.restOf(campaigns, sh)); err != nil {
		t.Fatal(err)
	}
	c.give(leads)
	if <-q.done; !errors.Is(q.err, engine.ErrNotFound) {
		t.Errorf("a campaigner whose key was deleted: %+v, %v", q.grant, q.err)
	}
}

// A claim that somebody deletes by hand is told at the next renewal, not at the second.
func TestAHeldClaimThatIsDeletedIsLostAtTheNextRenewal(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	gone, stays := mutex("gone"), mutex("stays")
	c.take(gone)
	c.take(stays)
	if _, err := admin(t, s.Addr).Delete(c.ctx, "gone/", clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
	if r, err := c.Renew(c.ctx, []*engine.Claim{gone, stays}); err != nil || len(r.Lost) != 1 || r.Lost[0] != gone.ID {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestASessionThatIsRevokedIsToldAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	told := make(chan engine.ClaimID, 10)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{Lost: func(id engine.ClaimID, _ error) { told <- id }})
	c.take(mutex("n"))
	if _, err := admin(t, s.Addr).Revoke(c.ctx, c.lease); err != nil {
		t.Fatal(err)
	}
	if id := <-told; id != "" {
		t.Errorf("told of %q, want of all", id)
	}
	await(t, "nothing more", func() bool { return c.Session.ctx.Err() != nil })
	if len(told) > 0 {
		t.Error("told twice")
	}
}

func TestAClaimThatIsRemovedByForceIsToldAtOnce(t *testing.T) {
	t.Parallel()
	s := start(t)
	told := make(chan engine.ClaimID, 10)
	e := openOn(t, []string{s.Addr}, nil)
	c := begin(t, e, engine.SessionOptions{Lost: func(id engine.ClaimID, _ error) { told <- id }})
	cl := mutex("n")
	c.take(cl)
	if err := e.Remove(c.ctx, "n", cl.ID); err != nil {
		t.Fatal(err)
	}
	if id := <-told; id != cl.ID {
		t.Errorf("told of %q, want %q", id, cl.ID)
	}
}

// A renewal that a leader answered who was none any more proves nothing: the term of
// what a quorum answered after it is another.
func TestAKeepAliveOfAnEarlierTermProvesNothing(t *testing.T) {
	t.Parallel()
	cluster := etcdtest.StartWith(t, etcdtest.Options{Members: 3, Args: unsafe})
	c := begin(t, openOn(t, cluster.Addrs(), nil), engine.SessionOptions{})
	alive, err := c.keepAlive(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.confirm(c.ctx, alive.GetHeader().GetRaftTerm()); err != nil {
		t.Fatalf("of this term: %v", err)
	}
	old, _ := cluster.Leader()
	cluster.Members[old].Kill()
	await(t, "another leader", func() bool { i, ok := cluster.Leader(); return ok && i != old })
	if err := c.confirm(c.ctx, alive.GetHeader().GetRaftTerm()); err == nil || engine.Definite(err) {
		t.Errorf("a keep-alive of the term before: %v, want an error that leaves it open", err)
	}
}

// A session that ended while its watch was cut off, and then the history was compacted:
// who looks for its key looks again until there is an answer.
func TestAnEndBeforeACompactionIsToldThoughTheFirstLookFails(t *testing.T) {
	t.Parallel()
	s := start(t)
	a := admin(t, s.Addr)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	_, begun, err := c.look(c.ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Revoke(c.ctx, c.lease); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Put(c.ctx, "later", ""); err != nil {
		t.Fatal(err)
	}
	compact(t, a)
	ctx, cancel := context.WithCancelCause(c.ctx)
	ended := false
	var fails atomic.Bool
	e := intercepted(t, s, func(ctx context.Context, _ string, next func(context.Context) error) error {
		if fails.Load() {
			return context.DeadlineExceeded
		}
		return next(ctx)
	})
	cutOff := &Session{ // the same one, without the goroutine that has followed it
		e: e, lease: c.lease, key: c.key, ctx: ctx, cancel: cancel,
		lost: func(engine.ClaimID, error) { ended = true },
	}
	fails.Store(true)
	from := cutOff.follow(begun + 1)
	fails.Store(false)
	if ended {
		t.Error("it was told of an end that nobody answered for")
	}
	if from = cutOff.follow(from); !ended {
		t.Errorf("it goes on from revision %d", from)
	}
}

// A note that was delayed on its way, until its caller had left, does not undo the one
// that was set meanwhile.
func TestANoteThatArrivesLateUndoesNoLaterOne(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx := guarded(t)
	delays := newDelayer(t, s)
	c := begin(t, delays.Engine, engine.SessionOptions{TTL: time.Minute})
	claim := mutex("n")
	c.take(claim)
	late := delays.hold("/Txn")
	left, leave := context.WithCancel(ctx)
	first := make(chan error, 1)
	go func() { first <- c.SetNote(left, claim, []byte("first")) }()
	<-late.held
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Errorf("the first: %v", err)
	}
	if err := c.SetNote(ctx, claim, []byte("second")); err != nil {
		t.Fatal(err)
	}
	late.deliver()
	l, err := c.e.Line(ctx, "n")
	if err != nil || len(l.Holders) != 1 || string(l.Holders[0].Note) != "second" {
		t.Errorf("%+v, %v, want the note that was set last", l, err)
	}
}

// A session that could not be begun keeps nobody waiting for the server to forget it.
func TestBeginObeysItsContextAlsoBetweenItsSteps(t *testing.T) {
	t.Parallel()
	s := start(t)
	ctx, cancel := context.WithCancel(guarded(t))
	e := intercepted(t, s, func(ctx context.Context, method string, next func(context.Context) error) error {
		if strings.HasSuffix(method, "/Txn") { // the lease is granted
			s.Pause()
			time.AfterFunc(50*time.Millisecond, cancel)
		}
		return next(ctx)
	})
	done := make(chan error, 1)
	go func() { _, err := e.Begin(ctx, engine.SessionOptions{TTL: time.Minute}); done <- err }()
	select {
	case err := <-done:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Begin: %v", err)
		}
		s.Continue()
	case <-time.After(patience):
		t.Error("Begin does not return")
		s.Continue()
		<-done
	}
}

// childWaits names the variable that makes this test's program the process that waits.
const childWaits = "ETCDENGINE_CHILD_WAITS"

// TestMain is also the program of the process that is stopped.
func TestMain(m *testing.M) {
	if addr := os.Getenv(childWaits); addr != "" {
		fmt.Println("result:", waitInChild(addr))
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func waitInChild(addr string) error {
	ctx := context.Background()
	to, err := lockstep.ParseURL("etcd://" + addr + "?" + patient)
	if err != nil {
		return err
	}
	e, err := open(ctx, to)
	if err != nil {
		return err
	}
	s, err := e.Begin(ctx, engine.SessionOptions{TTL: 10 * time.Second})
	if err != nil {
		return err
	}
	cl := mutex("n")
	go func() {
		for range time.Tick(s.TTL() / 8) {
			s.Renew(ctx, []*engine.Claim{cl})
		}
	}()
	g, err := s.Acquire(ctx, cl, false)
	if err == nil {
		fmt.Println("granted", g.Token)
	}
	return err
}

func TestAWaiterStoppedPastItsTTLIsGrantedNoDeadLease(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	held := mutex("n")
	c.take(held)
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), childWaits+"="+s.Addr)
	p, err := childproc.Launch(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
	})
	waiting := func() int {
		l, err := c.e.Line(c.ctx, "n")
		if err != nil {
			t.Fatal(err)
		}
		return len(l.Waiters)
	}
	await(t, "the process to wait", func() bool { return waiting() == 1 })
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	await(t, "its session to end", func() bool { return waiting() == 0 })
	c.give(held)
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	<-p.Done
	out, err := os.ReadFile(cmd.Dir + "/log")
	if err != nil {
		t.Fatal(err)
	}
	if text := string(out); strings.Contains(text, "granted") || !strings.Contains(text, "result: session ended") {
		t.Errorf("the process that was stopped for longer than its TTL said: %s", text)
	}
}

// S5: what a waiter finds by itself, before its session's watch has told it anything.
func TestAWaiterThatFindsItsClaimGoneWithItsSessionSaysSo(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	removed := fmt.Errorf("claim on %q: %w", "n", engine.ErrNotFound)
	ctx, cancel := context.WithCancelCause(c.ctx)
	deaf := &Session{e: c.e, lease: c.lease, key: c.key, ctx: ctx, cancel: cancel} // no watch tells it
	if err := deaf.why(c.ctx, removed); !errors.Is(err, engine.ErrNotFound) {
		t.Errorf("a claim that was removed alone: %v", err)
	}
	if err := c.e.revoke(c.ctx, c.lease); err != nil {
		t.Fatal(err)
	}
	if err := deaf.why(c.ctx, removed); !errors.Is(err, engine.ErrSessionEnded) || deaf.check() == nil {
		t.Errorf("a claim that went with its session: %v; the session's next call: %v", err, deaf.check())
	}
}

// S13: a line that a newer program is in is not guessed at.
func TestALineWithANewerLayoutIsRefused(t *testing.T) {
	t.Parallel()
	s := start(t)
	c := begin(t, openOn(t, []string{s.Addr}, nil), engine.SessionOptions{})
	key := "n/" + c.hex + "-" + string(mutex("n").ID) + ".m2-and-what-not"
	if _, err := admin(t, s.Addr).Put(c.ctx, key, "", clientv3.WithLease(c.lease)); err != nil {
		t.Fatal(err)
	}
	for _, cl := range []*engine.Claim{mutex("n"), try(mutex("n")), newClaim("n", engine.Semaphore)} {
		_, err := c.Acquire(c.ctx, cl, false)
		if !errors.Is(err, engine.ErrUnusable) || !strings.Contains(err.Error(), "newer layout") {
			t.Errorf("%v, try %v: %v", cl.Kind, cl.Try, err)
		}
	}
	if l, err := c.e.Line(c.ctx, "n"); err != nil || len(l.Holders)+len(l.Waiters) != 1 {
		t.Errorf("what was refused left %+v, %v", l, err)
	}
}
