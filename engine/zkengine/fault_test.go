package zkengine

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// tries is how often an experiment is made: short, or in a soak.
func tries(short, soak int) int {
	if os.Getenv("LOCKSTEP_SOAK") != "" {
		return soak
	}
	return short
}

// windowTTL is of holders that are to lose their locks.
const windowTTL = 2 * time.Second

// client is one of the core's.
func client(t *testing.T, url string, ttl time.Duration) *lockstep.Client {
	t.Helper()
	c, err := lockstep.Open(guarded(t), url, Driver, lockstep.WithTTL(ttl), lockstep.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = c.Close() }) // some were cut off: what they held then ends by itself
	return c
}

func guarded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	t.Cleanup(cancel)
	return ctx
}

func newName(what string) string { return what + "-" + strings.ToLower(rand.Text()) }

// cutHolder is one holder that is about to be cut off, and who waits for its lock.
type cutHolder struct {
	lease *lockstep.Lease
	told  chan time.Time
	next  chan time.Time
}

func newCutHolder(t *testing.T, holder, other *lockstep.Client) *cutHolder {
	t.Helper()
	name := newName("cut")
	ctx := guarded(t)
	lease, err := holder.Mutex(name).Lock(ctx)
	for err != nil && ctx.Err() == nil { // a member that was cut off may be about to join again
		lease, err = holder.Mutex(name).Lock(ctx)
	}
	if err != nil {
		t.Fatalf("Lock: %v", err)
	}
	h := &cutHolder{lease: lease, told: make(chan time.Time, 1), next: make(chan time.Time, 1)}
	context.AfterFunc(lease.Context(), func() { h.told <- time.Now() })
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), guard)
		defer cancel()
		next, err := other.Mutex(name).Lock(ctx)
		if err != nil {
			t.Errorf("the successor: %v", err)
			close(h.next)
			return
		}
		h.next <- time.Now()
		_ = next.Release(ctx)
	}()
	return h
}

// margins is how long before the successor's grant the windows closed, as they were
// proven last (which no scheduler can change), and the holder was told.
type margins struct{ planned, told []time.Duration }

// judge waits for both ends and compares them.
func (m *margins) judge(t *testing.T, h *cutHolder) {
	t.Helper()
	granted, ok := <-h.next
	if !ok {
		return
	}
	closes := h.lease.Until()
	if h.lease.Err() == nil {
		t.Errorf("the lease is believed when its successor is granted (S1)")
	}
	if !closes.Before(granted) {
		t.Errorf("the window closes %v after the successor's grant (S1)", closes.Sub(granted))
	}
	m.planned = append(m.planned, granted.Sub(closes))
	select {
	case told := <-h.told:
		m.told = append(m.told, granted.Sub(told))
	case <-time.After(guard):
		t.Error("the holder is never told")
	}
	if cause := context.Cause(h.lease.Context()); !errors.Is(cause, lockstep.ErrLost) {
		t.Errorf("the holder's context ended by %v, want ErrLost", cause)
	}
}

func (m *margins) report(t *testing.T) {
	t.Helper()
	if len(m.planned) == 0 {
		return
	}
	slices.Sort(m.planned)
	slices.Sort(m.told)
	t.Logf("%d runs: the window closed %.0f ms or more before the next grant (median %.0f ms); the context was done %.1f ms or more before it",
		len(m.planned), inMs(m.planned[0]), inMs(m.planned[len(m.planned)/2]), inMs(m.told[0]))
}

func inMs(d time.Duration) float64 { return d.Seconds() * 1000 }

// TestSoakAHolderThatIsCutOffIsToldBeforeTheNextGrant: 300 runs in the long form.
func TestSoakAHolderThatIsCutOffIsToldBeforeTheNextGrant(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{Tick: 100 * time.Millisecond})
	other := client(t, "zk://"+s.Addr, time.Minute)
	var m margins
	for round := range tries(1, 30) {
		var holders []*cutHolder
		var networks []*faultnet.Proxy
		for range 10 {
			p := faultnet.New(t, s.Addr, faultnet.Raw)
			networks = append(networks, p)
			holders = append(holders, newCutHolder(t, client(t, "zk://"+p.Addr, windowTTL), other))
		}
		// Each has another phase of its renewals when it is cut off.
		<-time.After(windowTTL + time.Duration(round*37%700)*time.Millisecond)
		for _, p := range networks {
			p.Blackhole()
		}
		for _, h := range holders {
			m.judge(t, h)
		}
	}
	m.report(t)
}

// TestSoakAFollowerThatIsCutOffFromItsLeaderProvesNothing: it goes on answering the
// holder, pings and reads, while the session ends elsewhere. 300 runs in the long
// form.
func TestSoakAFollowerThatIsCutOffFromItsLeaderProvesNothing(t *testing.T) {
	t.Parallel()
	e := zktest.StartEnsemble(t, 3, zktest.Options{Tick: 250 * time.Millisecond, Sync: 10 * time.Second, Proxied: true})
	var m margins
	for round := range tries(1, 30) {
		leader, follower := e.Leader(), e.Follower()
		other := client(t, "zk://"+leader.Addr, time.Minute)
		watcher := openURL(t, "zk://"+follower.Addr+"?timeout=30s")
		var holders []*cutHolder
		for range 10 {
			holders = append(holders, newCutHolder(t, client(t, "zk://"+follower.Addr, windowTTL), other))
		}
		<-time.After(windowTTL + time.Duration(round*37%700)*time.Millisecond)
		e.Link(follower, leader).Blackhole()
		for _, h := range holders {
			m.judge(t, h)
		}
		if err := do(guarded(t), watcher.conn, func() error { _, err := watcher.conn.children("/"); return err }); err != nil {
			t.Errorf("the follower no longer answers, so nothing was shown: %v", err)
		}
		watcher.Close()
		e.Link(follower, leader).Heal()
		e.Serving()
	}
	m.report(t)
}

// reads are what must not be old, of a name that is a map with an entry k.
func reads(e *Engine, name string) map[string]func(context.Context) (any, error) {
	return map[string]func(context.Context) (any, error){
		"a line":   func(ctx context.Context) (any, error) { return e.Line(ctx, name) },
		"an entry": func(ctx context.Context) (any, error) { return e.store.Get(ctx, name, "k") },
		"a map":    func(ctx context.Context) (any, error) { return e.store.List(ctx, name) },
		"a condition": func(ctx context.Context) (any, error) {
			return e.store.Commit(ctx, name, engine.Tx{If: []engine.Cond{{Key: "k", Revision: 1}}})
		},
		"a watch": func(ctx context.Context) (first any, err error) {
			for first, err = range e.store.Watch(ctx, name, 0) {
				break
			}
			return first, err
		},
	}
}

// TestNothingIsReadWhereNoQuorumAgrees: a leader answers its own clients' sync without
// asking anybody, from what it has applied, when a follower may have applied more.
func TestNothingIsReadWhereNoQuorumAgrees(t *testing.T) {
	t.Parallel()
	e := zktest.StartEnsemble(t, 3, zktest.Options{Sync: time.Hour, Proxied: true})
	leader := e.Leader()
	u := &user{T: t, e: openURL(t, "zk://"+leader.Addr+"?timeout=30m")}
	defer u.e.Close()
	name := newName("quorum")
	u.put(name, "k", "v")
	for what, read := range reads(u.e, name) {
		u.needsAQuorum(e, leader, what, read)
	}
	if _, err := u.e.conn.zk.SetACL("/", zk.DigestACL(zk.PermAll, "ann", "secret"), -1); err != nil {
		t.Fatal(err)
	}
	u.needsAQuorum(e, leader, "an entry below a root that is closed", reads(u.e, name)["an entry"])
}

// needsAQuorum calls read while the followers' answers do not reach the leader, which
// is the server that is asked.
func (u *user) needsAQuorum(e *zktest.Ensemble, leader *zktest.Server, what string, read func(context.Context) (any, error)) {
	u.Helper()
	var held []*faultnet.Rule
	for _, s := range e.Servers {
		if s != leader {
			held = append(held, e.Link(s, leader).Hold(faultnet.Any))
		}
	}
	if err := do(guarded(u.T), u.e.conn, func() error { return u.e.conn.sync("/") }); err != nil {
		u.Fatalf("the leader no longer answers, so nothing was shown: %v", err)
	}
	ctx, cancel := context.WithTimeout(u.Context(), time.Second) // in which nobody is to answer
	defer cancel()
	if got, err := read(ctx); !errors.Is(err, context.DeadlineExceeded) {
		u.Errorf("%s: %+v, %v, though nobody but one server was asked", what, got, err)
	}
	for _, r := range held {
		r.Remove()
	}
	if err := u.e.latest(guarded(u.T)); err != nil { // nothing is under way any more
		u.Fatal(err)
	}
}

// TestWhoMayOnlyLookOnReads: also where the root is closed, which a read checks.
func TestWhoMayOnlyLookOnReads(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{})
	ann := newUser(t, "zk://ann:secret@"+s.Addr+"/app?acl=read")
	name := newName("look")
	ann.put(name, "k", "v")
	if _, err := ann.e.conn.zk.SetACL("/", zk.DigestACL(zk.PermAll, "ann", "secret"), -1); err != nil {
		t.Fatal(err)
	}
	other := openURL(t, "zk://"+s.Addr+"/app")
	defer other.Close()
	for what, read := range reads(other, name) {
		switch got, err := read(guarded(t)); {
		case what == "a condition" && !errors.Is(err, engine.ErrConflict):
			t.Errorf("%s that does not hold: %v, want ErrConflict", what, err)
		case what != "a condition" && err != nil:
			t.Errorf("%s: %+v, %v", what, got, err)
		}
	}
}

// Time passes by what is noted of the past, so that no machine is too slow for it.
func TestARenewalIsProvenFromAWriteBeforeItAndNeverFromItsOwnAnswer(t *testing.T) {
	t.Parallel()
	e := openURL(t, "zk://"+server(t).Addr)
	defer e.Close()
	before := time.Now()
	session := begin(t, e, time.Hour)
	began := session.proofs.last
	if began.Before(before) {
		t.Fatal("a session is proven from before it was begun")
	}
	proven := func() time.Time {
		t.Helper()
		r, err := session.Renew(guarded(t), nil)
		if err != nil {
			t.Fatal(err)
		}
		return r.Proven
	}
	_, l := session.c.tap.now()
	for range 2 {
		asked := time.Now()
		if at := proven(); at.After(began) && at.After(asked.Add(-l.timeout/4)) {
			t.Errorf("proven from %v before it was asked, want a quarter of the timeout, or the connection", asked.Sub(at))
		}
	}
	l.began = l.began.Add(-time.Hour) // the connection is old, and so is the first write
	session.proofs.last = l.began
	session.proofs.sent[0] = session.proofs.sent[0].Add(-l.timeout / 4)
	if at, want := proven(), session.proofs.sent[0]; !at.Equal(want) {
		t.Errorf("proven from %v after the write of a quarter of the timeout ago, want from that", at.Sub(want))
	}
}

func TestACreateWhoseReplyWasLostIsFoundByItsID(t *testing.T) {
	t.Parallel()
	s := server(t)
	p := faultnet.New(t, s.Addr, faultnet.Raw)
	other := newUser(t, "zk://"+s.Addr)
	mine := openURL(t, "zk://"+p.Addr)
	defer mine.Close()
	session := begin(t, mine, time.Minute)
	c := newClaim(newName("lost"), "mutex")
	if err := other.e.conn.ensure("/"+c.Name, true); err != nil {
		t.Fatal(err)
	}
	p.DropReplies()
	lost := make(chan error, 1)
	go func() {
		_, err := session.Acquire(t.Context(), c, false)
		lost <- err
	}()
	shown := other.inLine(c.Name, 1, 0).Holders[0]
	p.Heal()
	if err := <-lost; err == nil || engine.Definite(err) {
		t.Fatalf("an Acquire whose reply was lost: %v, want an unknown outcome", err)
	}
	g, err := session.Acquire(guarded(t), c, true)
	if err != nil || g.Token != shown.Token {
		t.Errorf("asked again: token %d, %v; want that of the line, %d", g.Token, err, shown.Token)
	}
	other.inLine(c.Name, 1, 0)
	if removed, err := session.Release(guarded(t), c); err != nil || !removed {
		t.Errorf("Release: removed %v, %v", removed, err)
	}
	other.inLine(c.Name, 0, 0)
	if all, err := other.e.conn.children("/" + c.Name); err != nil || len(all.names) > 0 {
		t.Errorf("nodes are left: %v, %v", all.names, err)
	}
}

func TestANodeOfADyingSessionIsNeverTakenForOurs(t *testing.T) {
	t.Parallel()
	s := server(t)
	u := newUser(t, "zk://"+s.Addr)
	c := newClaim(newName("dying"), "mutex")
	old, err := u.s.Acquire(t.Context(), c, false)
	if err != nil {
		t.Fatal(err)
	}
	next := begin(t, u.e, time.Minute)
	g, err := next.Acquire(guarded(t), c, true)
	if err != nil || g.Token <= old.Token {
		t.Errorf("the next session's claim: token %d after %d, %v", g.Token, old.Token, err)
	}
	if r, err := u.s.Renew(guarded(t), []*engine.Claim{c}); err != nil || !slices.Equal(r.Lost, []engine.ClaimID{c.ID}) {
		t.Errorf("the old session's renewal: %+v, %v; its claim is gone", r, err)
	}
	if err := next.End(guarded(t), []*engine.Claim{c}); err != nil {
		t.Error(err)
	}
}

func TestALeaseSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{})
	c := client(t, "zk://"+s.Addr, guard)
	lease, err := c.Mutex("restart").Lock(guarded(t))
	if err != nil {
		t.Fatal(err)
	}
	s.Restart()
	l, err := lineOf(guarded(t), c, "restart")
	if err != nil || len(l.Holders) != 1 || l.Holders[0].ID != lease.ID() {
		t.Errorf("after the restart: %+v, %v", l, err)
	}
	if lease.Err() != nil {
		t.Errorf("after the restart: %v", lease.Err())
	}
	if err := lease.Release(guarded(t)); err != nil {
		t.Errorf("Release: %v", err)
	}
}

// lineOf asks until somebody answers.
func lineOf(ctx context.Context, c *lockstep.Client, name string) (lockstep.Line, error) {
	for {
		l, err := c.Line(ctx, name)
		if err == nil || ctx.Err() != nil {
			return l, err
		}
	}
}

// belief is when a holder believed.
type belief struct {
	token      lockstep.Token
	start, end time.Time
}

// TestLocksExcludeEachOtherWhileMembersFail kills, stops and cuts off members of an
// ensemble under clients that take turns.
func TestLocksExcludeEachOtherWhileMembersFail(t *testing.T) {
	t.Parallel()
	e := zktest.StartEnsemble(t, 3, zktest.Options{Tick: 250 * time.Millisecond, Sync: 5 * time.Second, Proxied: true})
	stop := make(chan struct{})
	var mu sync.Mutex
	var beliefs []belief
	var workers sync.WaitGroup
	for range 4 {
		c := client(t, e.URL(), 10*time.Second)
		workers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if b, ok := turn(t.Context(), c); ok {
					mu.Lock()
					beliefs = append(beliefs, b)
					mu.Unlock()
				}
			}
		})
	}
	grants := func() {
		t.Helper()
		mu.Lock()
		before := len(beliefs)
		mu.Unlock()
		for deadline := time.Now().Add(2 * guard); ; { // elections, and sessions that end
			mu.Lock()
			n := len(beliefs)
			mu.Unlock()
			if n > before+20 {
				return
			}
			if time.Now().After(deadline) {
				t.Fatal("nobody is granted the lock any more")
			}
			<-time.After(5 * time.Millisecond) // between two looks
		}
	}
	grants()
	victim := e.Follower()
	victim.Kill()
	grants()
	victim.Restart()
	victim = e.Leader()
	victim.Pause()
	grants()
	victim.Continue()
	e.Serving()
	victim = e.Follower()
	link := e.Link(victim, e.Leader())
	link.Blackhole()
	grants()
	link.Heal()
	e.Serving()
	grants()
	close(stop)
	workers.Wait()
	slices.SortFunc(beliefs, func(a, b belief) int { return a.start.Compare(b.start) })
	for i := 1; i < len(beliefs); i++ {
		if a, b := beliefs[i-1], beliefs[i]; b.start.Before(a.end) || b.token <= a.token {
			t.Errorf("token %d was believed until %v after token %d began", a.token, a.end.Sub(b.start), b.token)
		}
	}
	t.Logf("%d grants", len(beliefs))
}

func turn(ctx context.Context, c *lockstep.Client) (belief, bool) {
	lease, err := c.Mutex("turns").Lock(ctx)
	if err != nil {
		return belief{}, false
	}
	b := belief{token: lease.Token(), start: time.Now()}
	select {
	case <-lease.Context().Done():
	case <-time.After(time.Millisecond): // of work
	}
	b.end = time.Now()
	believed := lease.Err() == nil
	_ = lease.Release(ctx)
	return b, believed
}

// TestAThousandLeasesAreLostTogether: their session is one, and so is its end.
func TestAThousandLeasesAreLostTogether(t *testing.T) {
	t.Parallel()
	const leases = 1000
	s := server(t)
	p := faultnet.New(t, s.Addr, faultnet.Raw)
	c := client(t, "zk://"+p.Addr, 10*time.Second)
	base := newName("many")
	var mu sync.Mutex
	var all []*lockstep.Lease
	err := eachParallel(leases, func(i int) error {
		l, err := c.Mutex(fmt.Sprint(base, "/", i)).Lock(guarded(t))
		mu.Lock()
		defer mu.Unlock()
		all = append(all, l)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	var told sync.WaitGroup
	var first, last time.Time
	for _, l := range all {
		told.Add(1)
		context.AfterFunc(l.Context(), func() {
			defer told.Done()
			mu.Lock()
			defer mu.Unlock()
			now := time.Now()
			if first.IsZero() {
				first = now
			}
			last = now
		})
	}
	p.Blackhole()
	other := newUser(t, "zk://"+s.Addr)
	next := newClaim(base+"/0", "mutex")
	wait(t, "the grant after the session's end", other.begin(next))
	granted := time.Now()
	told.Wait()
	if !last.Before(granted) {
		t.Errorf("the last of %d leases was told %v after the next grant", leases, last.Sub(granted))
	}
	for _, l := range all {
		if !errors.Is(l.Err(), lockstep.ErrLost) {
			t.Fatalf("a lease says %v", l.Err())
		}
	}
	t.Logf("%d leases were told within %.1f ms, %.0f ms before the next grant", leases, inMs(last.Sub(first)), inMs(granted.Sub(last)))
	p.Heal()
}

// TestASilentServerIsLeftForAnother: the connection says nothing more, and the lease
// goes on by another member before its window closes.
func TestASilentServerIsLeftForAnother(t *testing.T) {
	t.Parallel()
	e := zktest.StartEnsemble(t, 3, zktest.Options{Tick: 250 * time.Millisecond})
	p := faultnet.New(t, e.Follower().Addr, faultnet.Raw)
	c := client(t, "zk://"+p.Addr+","+e.Leader().Addr, 20*time.Second)
	lease, err := c.Mutex("silent").Lock(guarded(t))
	if err != nil {
		t.Fatal(err)
	}
	until := lease.Until()
	p.Blackhole()
	for deadline := time.Now().Add(guard); lease.Err() == nil && !lease.Until().After(until.Add(10*time.Second)); {
		if time.Now().After(deadline) {
			t.Fatal("the lease is neither renewed nor lost")
		}
		<-time.After(10 * time.Millisecond) // between two looks
	}
	if err := lease.Err(); err != nil {
		t.Errorf("a lease whose server fell silent, beside one that answers: %v", err)
	}
}
