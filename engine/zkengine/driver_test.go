package zkengine

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func TestWhatAURLSaysWrongIsRefused(t *testing.T) {
	for url, why := range map[string]string{
		"zk:///path":               "wants servers",
		"zk://h?x=1":               "unknown parameter x",
		"zk://h?acl=all":           "wants open, creator or read",
		"zk://h?acl=creator":       "wants a user",
		"zk://h?parents=none":      "wants container or persistent",
		"zk://h?timeout=fast":      "wants a duration",
		"zk://h?tls=yes":           "wants on",
		"zk://h?ca=/x":             "ca wants tls=on",
		"zk://h?tls=on&ca=/no/one": "no such file",
	} {
		target, err := lockstep.ParseURL(url)
		if err != nil {
			t.Fatalf("%s: %v", url, err)
		}
		if _, err = Driver.Open(guarded(t), target); !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %v, want ErrInvalid that says %q", url, err, why)
		}
	}
}

func TestNamesArePathsWithOneSpelling(t *testing.T) {
	e := &Engine{}
	if name, err := e.CheckName("/a/b"); name != "a/b" || err != nil {
		t.Errorf("/a/b is %q, %v", name, err)
	}
	for _, name := range []string{
		"a//b", "a/", "a/./b", "..", ".lockstep/x", "zookeeper/quota", "a/lock-0000000001", "😀", "a\u0085",
	} {
		if _, err := e.CheckName(name); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%q: %v, want ErrInvalid", name, err)
		}
	}
}

func TestTheRootKeepsClientsApart(t *testing.T) {
	t.Parallel()
	s := server(t)
	name := newName("rooted")
	a, b := newUser(t, "zk://"+s.Addr+"/one/"+name), newUser(t, "zk://"+s.Addr+"/other/"+name)
	mine, theirs := newClaim("n", "mutex"), newClaim("n", "mutex")
	wait(t, "the first's grant", a.begin(mine))
	wait(t, "the other's grant, below another root", b.begin(theirs))
	a.release(mine)
	b.release(theirs)
}

func TestNodesOfAUserAreClosedToOthers(t *testing.T) {
	t.Parallel()
	s := server(t)
	name := newName("closed")
	b := newUser(t, "zk://"+s.Addr) // first: what is Lockstep's own belongs to whoever comes first
	a := newUser(t, "zk://ann:secret@"+s.Addr)
	c := newClaim(name, "mutex")
	wait(t, "the grant", a.begin(c))
	_, err := b.s.Acquire(guarded(t), newClaim(name, "mutex"), false)
	if !errors.Is(err, engine.ErrUnusable) || strings.Contains(err.Error(), "secret") {
		t.Errorf("somebody else's claim: %v, want ErrUnusable", err)
	}
	open := newClaim(name+"-open", "mutex")
	wait(t, "the grant of another name", b.begin(open))
	var seen []string
	for n, err := range b.e.Names(guarded(t), name) {
		if err != nil {
			t.Fatalf("Names beside what is closed: %v", err)
		}
		seen = append(seen, n)
	}
	if len(seen) != 1 || seen[0] != open.Name {
		t.Errorf("Names: %v, want what is open", seen)
	}
	b.release(open)
	a.release(c)
}

func TestAClientOfTheCallersCarriesSessionsThatAreApart(t *testing.T) {
	t.Parallel()
	s := server(t)
	e := fromConn(t, s.Addr, 4*time.Second)
	a, b := begin(t, e, time.Minute), begin(t, e, time.Minute)
	if a.TTL() != 4*time.Second {
		t.Errorf("TTL %v, negotiated 4s", a.TTL())
	}
	mine, theirs := newClaim(newName("a"), "mutex"), newClaim(newName("b"), "mutex")
	for session, c := range map[*Session]*engine.Claim{a: mine, b: theirs} {
		if _, err := session.Acquire(guarded(t), c, false); err != nil {
			t.Fatal(err)
		}
	}
	if err := a.End(guarded(t), []*engine.Claim{mine}); err != nil {
		t.Fatal(err)
	}
	other := newUser(t, "zk://"+s.Addr)
	other.inLine(mine.Name, 0, 0)
	other.inLine(theirs.Name, 1, 0)
	if r, err := b.Renew(guarded(t), []*engine.Claim{theirs}); err != nil || len(r.Lost) > 0 {
		t.Errorf("the other session's renewal: %+v, %v", r, err)
	}
	if err := endSession(s.Addr, b.z); err != nil {
		t.Fatal(err)
	}
	wait(t, "the client's session to end", b.z.over)
	if _, err := b.Acquire(guarded(t), newClaim(mine.Name, "mutex"), false); !errors.Is(err, engine.ErrSessionEnded) {
		t.Errorf("Acquire after the client began another session by itself: %v, want ErrSessionEnded", err)
	}
	if _, _, err := e.conn.tap.await(guarded(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := b.create(newClaim(mine.Name, "mutex")); !errors.Is(err, engine.ErrSessionEnded) {
		t.Errorf("a request that waited in the client: %v, want ErrSessionEnded", err)
	}
	other.inLine(mine.Name, 0, 0)
	if err := b.End(guarded(t), []*engine.Claim{theirs}); err != nil {
		t.Error(err)
	}
}

// TestASessionThatNobodyRenewsHasEnded: the client's pings alone would keep it.
func TestASessionThatNobodyRenewsHasEnded(t *testing.T) {
	t.Parallel()
	u := newUser(t, "zk://"+server(t).Addr)
	lost := make(chan error, 1)
	s, err := u.e.Begin(guarded(t), engine.SessionOptions{TTL: time.Second, Lost: func(_ engine.ClaimID, why error) { lost <- why }})
	if err != nil {
		t.Fatal(err)
	}
	c := newClaim(newName("idle"), "mutex")
	if _, err := s.Acquire(guarded(t), c, false); err != nil && !errors.Is(err, engine.ErrSessionEnded) {
		t.Fatal(err)
	}
	select {
	case why := <-lost:
		if !errors.Is(why, engine.ErrSessionEnded) {
			t.Errorf("told of %v, want ErrSessionEnded", why)
		}
	case <-time.After(guard):
		t.Fatal("nobody is told that the session has ended")
	}
	eventually(t, "Renew says that the session has ended", func() bool {
		_, err := s.Renew(guarded(t), nil)
		return errors.Is(err, engine.ErrSessionEnded)
	})
	u.inLine(c.Name, 0, 0)
	if err := s.End(guarded(t), []*engine.Claim{c}); err != nil {
		t.Error(err)
	}
}
