package zkengine

import (
	"fmt"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// stay keeps ZooKeeper from removing an empty parent in the middle of a test.
const stay = "?parents=persistent"

// cycle takes and releases a name that is free.
func (u *user) cycle(name string) engine.Token {
	u.Helper()
	c := newClaim(name, "mutex")
	g, err := u.s.Acquire(u.Context(), c, false)
	if err != nil {
		u.Fatalf("Acquire: %v", err)
	}
	if l := u.inLine(name, 1, 0); l.Holders[0].Token != g.Token {
		u.Errorf("granted with token %d, the line shows %d", g.Token, l.Holders[0].Token)
	}
	u.release(c)
	return g.Token
}

// knows is the number that the session's next claim has where the line is still empty.
// It is the first to use the session; from then on only who waits is watched.
func (u *user) knows(name string) int32 {
	u.Helper()
	u.s.mu.Lock()
	u.s.arming = true // however long a claim is held, on a machine that stands still
	u.s.mu.Unlock()
	var last engine.Token
	for range 3 { // listed; listed and watched; known
		next := u.cycle(name)
		if next <= last {
			u.Errorf("token %d after %d", next, last)
		}
		last = next
	}
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	e := u.s.emptied[u.e.paths.of(name)]
	if e == nil || e.next == 0 {
		u.Fatalf("nothing is known of a line that was left empty: %+v", e)
	}
	return e.next
}

// waits sees a claim wait: it is watched, which nobody else does, or granted.
func (u *user) waits(c *engine.Claim) {
	u.Helper()
	var granted bool
	eventually(u, "a claim waits", func() bool {
		u.s.mu.Lock()
		defer u.s.mu.Unlock()
		p := u.s.places[c.ID]
		granted = p != nil && p.granted
		return granted || p != nil && p.armed != 0
	})
	if granted {
		u.Fatal("two hold one mutex (S1)")
	}
	u.s.c.calls.Wait() // for the watches that are set beside its own
}

func TestANameThatIsTakenAgainAndAgainCostsOneRequestEachWay(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{})
	e := openURL(t, "zk://"+s.Addr+longTimeout+"&parents=persistent")
	defer e.Close()
	u := &user{t, e, begin(t, e, 30*time.Minute)}
	name := newName("again")
	u.knows(name)
	const n = 20
	before := s.Packets()
	for range n {
		c := newClaim(name, "mutex")
		wait(t, "the grant", u.begin(c))
		u.release(c)
	}
	if asked := s.Packets() - before; asked > 2*n {
		t.Errorf("%d locks of one name that nobody else wants, and their releases, took %d requests, want two each", n, asked)
	}
}

func TestWhoeverCameToALineThatWasLeftEmptyIsWaitedFor(t *testing.T) {
	t.Parallel()
	u, other := newUser(t, "zk://"+server(t).Addr+stay), newUser(t, "zk://"+server(t).Addr+stay)
	name := newName("came")
	u.knows(name)
	u.waitsOut(other, name)
}

// waitsOut takes a lock that the other one holds, when it has given it back.
func (u *user) waitsOut(other *user, name string) {
	u.Helper()
	theirs, mine := newClaim(name, "mutex"), newClaim(name, "mutex")
	wait(u.T, "the other's grant", other.begin(theirs))
	granted := u.begin(mine)
	u.waits(mine)
	other.release(theirs)
	wait(u.T, "the grant", granted)
	u.release(mine)
}

// TestALineBelowAnotherNodeOfThatNameIsNotTheOneThatWasLeft: its numbers have come to
// where the old one's ended, and somebody is in it.
func TestALineBelowAnotherNodeOfThatNameIsNotTheOneThatWasLeft(t *testing.T) {
	t.Parallel()
	u, other := newUser(t, "zk://"+server(t).Addr+stay), newUser(t, "zk://"+server(t).Addr+stay)
	name := newName("reborn")
	next := u.knows(name)
	dir := other.e.paths.of(name)
	if err := other.e.conn.delete(dir); err != nil {
		t.Fatal(err)
	}
	theirs := newClaim(name, "mutex")
	wait(t, "the other's grant", other.begin(theirs)) // 0 and 1
	for i := int32(2); i < next; i++ {
		path := fmt.Sprintf("%s/stray-%d", dir, i)
		if _, err := other.e.conn.zk.Create(path, nil, zk.FlagEphemeral, zk.WorldACL(zk.PermAll)); err != nil {
			t.Fatal(err)
		}
	}
	mine := newClaim(name, "mutex")
	granted := u.begin(mine)
	u.waits(mine)
	if n, ok := parseNode(base(u.s.place(mine.ID).path)); !ok || n.number != next {
		t.Fatalf("our number is %d, want %d: nothing was shown", n.number, next)
	}
	other.release(theirs)
	wait(t, "the grant", granted)
	u.release(mine)
}

func TestWhatWasKnownOfALineIsForgottenWithTheConnection(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr+stay)
	name := newName("moved")
	next := u.knows(name)
	dir := u.e.paths.of(name)
	p := &place{s: u.s, dir: dir, path: fmt.Sprintf("%s/_c_%s%010d", dir, curatorLock[1:], next)}
	_, l := u.s.c.tap.now()
	if !u.s.follows(p, l) {
		t.Error("a claim that follows on the last one is not known to be the first")
	}
	other := &link{n: l.n + 1}
	if u.s.follows(p, other) {
		t.Error("a claim made over another connection than the one it was answered over is taken for the first")
	}
	u.s.mu.Lock()
	u.s.emptied[dir].link = other.n
	u.s.mu.Unlock()
	if u.s.follows(p, l) {
		t.Error("a watch that was set over another connection is relied on")
	}
}

func TestASessionRemembersSoManyLinesAndNoMore(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	for i := range 2 * maxEmptied {
		u.s.leave(&place{s: u.s, dir: fmt.Sprint("/once/", i), first: true}, 2)
	}
	if n := len(u.s.emptied); n != maxEmptied {
		t.Errorf("%d lines are remembered, want %d", n, maxEmptied)
	}
}
