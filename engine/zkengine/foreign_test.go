package zkengine

import (
	"bufio"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-zookeeper/zk"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/need"
)

// foreign is another program's library on the same paths.
type foreign interface {
	// acquire begins to wait for a lock, and returns what is closed when it is held.
	acquire(t *testing.T, kind, path, id string) <-chan struct{}
	release(t *testing.T, id string)
}

// program is a foreign library in a process of its own, which does what lines say.
type program struct {
	in io.Writer

	mu      sync.Mutex
	granted map[string]chan struct{}
	failed  []string
	ended   chan struct{}
}

// runForeign starts a program that waits for orders.
func runForeign(t *testing.T, name string, args ...string) *program {
	t.Helper()
	cmd := exec.Command(name, args...)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{in: in, granted: make(map[string]chan struct{}), ended: make(chan struct{})}
	ready := make(chan struct{})
	go p.listen(out, ready)
	t.Cleanup(func() {
		in.Close()
		select {
		case <-p.ended:
		case <-time.After(guard):
			_ = cmd.Process.Kill()
			<-p.ended
		}
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s: %v\n%s", name, p.failed, stderr.String())
		}
	})
	wait(t, "another program to connect", ready)
	return p
}

func (p *program) listen(out io.Reader, ready chan<- struct{}) {
	defer close(p.ended)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		p.mu.Lock()
		switch word {
		case "ready":
			close(ready)
		case "granted":
			close(p.granted[rest])
		case "failed":
			p.failed = append(p.failed, rest)
		}
		p.mu.Unlock()
	}
}

func (p *program) acquire(t *testing.T, kind, path, id string) <-chan struct{} {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	granted := make(chan struct{})
	p.granted[id] = granted
	if _, err := fmt.Fprintf(p.in, "acquire %s %s %s\n", kind, path, id); err != nil {
		t.Fatal(err)
	}
	return granted
}

func (p *program) release(t *testing.T, id string) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, err := fmt.Fprintf(p.in, "release %s\n", id); err != nil {
		t.Fatal(err)
	}
}

func wait(t *testing.T, what string, c <-chan struct{}) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(guard):
		t.Fatalf("waited %v for %s", guard, what)
	}
}

func curator(t *testing.T, addr string) foreign {
	t.Helper()
	var jars []string
	for _, jar := range []string{
		"curator-recipes", "curator-framework", "curator-client", "zookeeper", "zookeeper-jute", "guava", "slf4j-api", "slf4j-nop",
	} {
		jars = append(jars, "/usr/share/java/"+jar+".jar")
	}
	_, err := os.Stat(jars[0])
	need.That(t, "Curator (Debian's libcurator-recipes-java)", err)
	need.Program(t, "javac", "default-jdk-headless")
	return runForeign(t, "java", "-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-cp", strings.Join(jars, ":"),
		filepath.Join("testdata", "Foreign.java"), addr)
}

func kazoo(t *testing.T, addr string) foreign {
	t.Helper()
	need.That(t, "kazoo (Debian's python3-kazoo)", exec.Command("/usr/bin/python3", "-c", "import kazoo").Run())
	return runForeign(t, "/usr/bin/python3", filepath.Join("testdata", "foreign.py"), addr)
}

// goZK is go-zookeeper's own Lock.
type goZK struct {
	conn *zk.Conn

	mu    sync.Mutex
	locks map[string]*zk.Lock
}

func newGoZK(t *testing.T, addr string) foreign {
	t.Helper()
	conn, _, err := zk.Connect([]string{addr}, time.Minute, zk.WithLogInfo(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return &goZK{conn: conn, locks: make(map[string]*zk.Lock)}
}

func (g *goZK) acquire(t *testing.T, _, path, id string) <-chan struct{} {
	t.Helper()
	lock := zk.NewLock(g.conn, path, zk.WorldACL(zk.PermAll))
	g.mu.Lock()
	g.locks[id] = lock
	g.mu.Unlock()
	granted := make(chan struct{})
	go func() {
		if err := lock.Lock(); err == nil {
			close(granted)
		}
	}()
	return granted
}

func (g *goZK) release(t *testing.T, id string) {
	t.Helper()
	g.mu.Lock()
	defer g.mu.Unlock()
	if err := g.locks[id].Unlock(); err != nil {
		t.Error(err)
	}
}

// user is a client of ours.
type user struct {
	*testing.T
	e *Engine
	s *Session
}

func newUser(t *testing.T, url string) *user {
	t.Helper()
	e := openURL(t, url)
	u := &user{t, e, begin(t, e, time.Hour)} // nobody renews it, and a loaded machine may stand still for long
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), guard)
		defer cancel()
		if err := u.s.End(ctx, nil); err != nil {
			t.Errorf("End: %v", err)
		}
		e.Close()
	})
	return u
}

func newClaim(name, kind string) *engine.Claim {
	c := &engine.Claim{ID: engine.ClaimID(rand.Text()), Name: name, Kind: engine.Mutex, Shares: 1, Limit: 1}
	switch kind {
	case "leader":
		c.Kind = engine.Election
	case "read":
		c.Kind, c.Limit = engine.ReadWrite, engine.Unlimited
	case "write":
		c.Kind, c.Limit, c.Shares = engine.ReadWrite, engine.Unlimited, engine.Unlimited
	}
	return c
}

// begin begins to wait, and returns what is closed by the grant.
func (u *user) begin(c *engine.Claim) <-chan struct{} {
	granted := make(chan struct{})
	go func() {
		if _, err := u.s.Acquire(u.Context(), c, false); err == nil {
			close(granted)
		} else if u.Context().Err() == nil {
			u.Errorf("Acquire: %v", err)
		}
	}()
	return granted
}

func (u *user) release(c *engine.Claim) {
	u.Helper()
	if removed, err := u.s.Release(u.Context(), c); err != nil || !removed {
		u.Errorf("Release: removed %v, %v", removed, err)
	}
}

// inLine waits until a line has so many holders and waiters.
func (u *user) inLine(name string, holders, waiters int) engine.Line {
	u.Helper()
	for deadline := time.Now().Add(guard); time.Now().Before(deadline); {
		l, err := u.e.Line(u.Context(), name)
		if err != nil {
			u.Fatalf("Line: %v", err)
		}
		if len(l.Holders) == holders && len(l.Waiters) == waiters {
			return l
		}
	}
	l, err := u.e.Line(u.Context(), name)
	u.Fatalf("the line never had %d holders and %d waiters: %+v, %v", holders, waiters, l, err)
	return l
}

// bothWays: a foreign client and ours take turns on one path, whoever comes first.
func bothWays(t *testing.T, u *user, f foreign, kind string) {
	t.Helper()
	name := "foreign-" + strings.ToLower(rand.Text())
	wait(t, "a foreign client's lock", f.acquire(t, kind, "/"+name, name+"1"))
	tried := newClaim(name, kind)
	tried.Try = true
	if _, err := u.s.Acquire(t.Context(), tried, false); !errors.Is(err, engine.ErrHeld) {
		t.Errorf("Try of what a foreign client holds: %v", err)
	}
	mine := newClaim(name, kind)
	granted := u.begin(mine)
	if l := u.inLine(name, 1, 1); !l.Holders[0].Foreign || l.Waiters[0].ID != mine.ID {
		t.Errorf("a foreign client holds, ours waits: %+v", l)
	}
	f.release(t, name+"1")
	wait(t, "the grant after a foreign client's release", granted)

	theirs := f.acquire(t, kind, "/"+name, name+"2")
	if l := u.inLine(name, 1, 1); l.Holders[0].ID != mine.ID || !l.Waiters[0].Foreign {
		t.Errorf("ours holds, a foreign client waits: %+v", l)
	}
	select {
	case <-theirs:
		t.Error("a foreign client holds beside ours")
	default:
	}
	u.release(mine)
	wait(t, "a foreign client's grant after our release", theirs)
	f.release(t, name+"2")
	u.inLine(name, 0, 0)
}

// inPairs: readers share, and a writer excludes both, whoever comes first.
func inPairs(t *testing.T, u *user, f foreign) {
	t.Helper()
	for _, first := range []string{"read", "write"} {
		for _, second := range []string{"read", "write"} {
			together := 1
			if first == "read" && second == "read" {
				together = 2
			}
			name := "foreign-" + strings.ToLower(rand.Text())
			wait(t, "a foreign client's "+first, f.acquire(t, first, "/"+name, name+"1"))
			mine := newClaim(name, second)
			granted := u.begin(mine)
			u.inLine(name, together, 2-together)
			f.release(t, name+"1")
			wait(t, "our "+second+" after a foreign "+first, granted)
			theirs := f.acquire(t, first, "/"+name, name+"2")
			u.inLine(name, together, 2-together)
			u.release(mine)
			wait(t, "a foreign "+first+" after our "+second, theirs)
			f.release(t, name+"2")
			u.inLine(name, 0, 0)
		}
	}
}

func TestCuratorsLocksAndOursExcludeEachOther(t *testing.T) {
	s := server(t)
	u, f := newUser(t, "zk://"+s.Addr), curator(t, s.Addr)
	bothWays(t, u, f, "mutex")
	bothWays(t, u, f, "leader")
	inPairs(t, u, f)
}

func TestKazoosLocksAndOursExcludeEachOther(t *testing.T) {
	s := server(t)
	u, f := newUser(t, "zk://"+s.Addr), kazoo(t, s.Addr)
	bothWays(t, u, f, "mutex")
	bothWays(t, u, f, "leader")
	inPairs(t, u, f)
}

func TestGoZookeepersLockAndOursExcludeEachOther(t *testing.T) {
	s := server(t)
	bothWays(t, newUser(t, "zk://"+s.Addr), newGoZK(t, s.Addr), "mutex")
}

func TestAStrayChildDisturbsNothing(t *testing.T) {
	s := server(t)
	u := newUser(t, "zk://"+s.Addr)
	name := "stray-" + strings.ToLower(rand.Text())
	for _, child := range []string{"readme", "lock", "x-12", "_c_zzz"} {
		if err := u.e.conn.ensure("/"+name+"/"+child, false); err != nil {
			t.Fatal(err)
		}
	}
	first, second := newClaim(name, "mutex"), newClaim(name, "mutex")
	wait(t, "the grant beside stray children", u.begin(first))
	granted := u.begin(second)
	u.inLine(name, 1, 1)
	u.release(first)
	wait(t, "the hand-over beside stray children", granted)
	u.release(second)
}

func TestTokensRiseThoughTheParentWasRemovedAndMadeAgain(t *testing.T) {
	s := server(t)
	u := newUser(t, "zk://"+s.Addr)
	name := "again-" + strings.ToLower(rand.Text())
	last := engine.Token(0)
	for i := range 3 {
		c := newClaim(name, "mutex")
		g, err := u.s.Acquire(t.Context(), c, false)
		if err != nil {
			t.Fatal(err)
		}
		if n, ok := parseNode(base(u.s.place(c.ID).path)); !ok || n.number != 0 {
			t.Errorf("round %d: number %d; the parent was not made anew", i, n.number)
		}
		if g.Token <= last {
			t.Errorf("token %d after %d (S2)", g.Token, last)
		}
		last = g.Token
		u.release(c)
		if err := u.e.conn.delete("/" + name); err != nil {
			t.Fatal(err)
		}
	}
}
