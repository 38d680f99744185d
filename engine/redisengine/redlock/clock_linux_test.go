package redlock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/clockshim"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// oldNodes have run for longer than the longest TTL by their clocks, each of its own.
func oldNodes(t *testing.T, n int, args ...string) ([]*redistest.Server, []*clockshim.Shim) {
	t.Helper()
	nodes, shims := make([]*redistest.Server, n), make([]*clockshim.Shim, n)
	for i := range nodes {
		shims[i] = clockshim.Build(t)
		nodes[i] = redistest.StartWith(t, redistest.Options{Env: shims[i].Env(), Args: args})
		shims[i].Step(2 * MaxTTL)
	}
	return nodes, shims
}

// A node that was killed and comes back at once has forgotten what it voted: it is
// kept out until the longest TTL has passed, by its own word.
func TestANodeThatRestartedIsKeptOutForTheLongestTTL(t *testing.T) {
	t.Parallel()
	nodes, shims := oldNodes(t, 5, "--appendonly", "yes", "--appendfsync", "no")
	a, b := clientOn(t, openAt(t, addresses(nodes)), ttl), clientOn(t, openAt(t, addresses(nodes)), ttl)
	held := mutex("n")
	g := a.take(held)
	await(t, "all votes", func() bool { return votesOf(t, nodes, held) == 5 })
	for _, n := range nodes[:3] {
		n.Kill()
		if err := os.RemoveAll(n.Dir + "/appendonlydir"); err != nil { // as if the machine had crashed before it wrote
			t.Fatal(err)
		}
		n.Restart()
	}
	// Its votes are gone on a majority, and the others would be enough with one of these.
	for range 5 {
		if g, err := b.Acquire(guarded(t), try(mutex("n")), false); err == nil {
			t.Fatalf("granted %+v by nodes that had just restarted, beside a holder", g)
		}
	}
	for i, id := range owners(t, nodes[:3], "n") {
		if id != "" {
			t.Errorf("node %d voted for %s right after its restart", i, id)
		}
	}
	var out *keptOutError
	if _, err := b.e.nodes[0].run(guarded(t), call{theScripts.look, nameKeys("n"), nil}.command()); !errors.As(err, &out) {
		t.Errorf("a node that restarted: %v, want that it is kept out", err)
	}

	// Who holds is unsure while they are out, and never lost to anybody.
	if r := a.renew2(held); len(r.Lost) > 0 {
		t.Errorf("a renewal with a majority kept out: %+v", r)
	}
	for _, shim := range shims[:3] {
		shim.Step(2 * MaxTTL)
	}
	late := clientOn(t, openAt(t, addresses(nodes)), ttl) // one that has not been told how long it has to wait
	if got := late.take(mutex("n")); got.Token <= g.Token {
		t.Errorf("token %d after %d", got.Token, g.Token)
	}
}

// renew2 is a renewal that may fail: then nothing is known.
func (c *client) renew2(cl *engine.Claim) engine.Renewal {
	r, _ := c.Renew(guarded(c.t), []*engine.Claim{cl})
	return r
}

// A node that cannot be asked for how long it has run, or cannot void the loading of
// scripts, is given none: it would vote as soon as that is mended.
func TestANodeWhoseGuardFailsIsGivenNoScripts(t *testing.T) {
	t.Parallel()
	for ill, befall := range map[string][]string{
		"may not tell its uptime": {"ACL", "SETUSER", "default", "-info"},
		"full":                    {"CONFIG", "SET", "maxmemory", "1"},
		"read-only":               {"REPLICAOF", "127.0.0.1", "1"},
	} {
		t.Run(ill, func(t *testing.T) {
			t.Parallel()
			n := redistest.Start(t)
			ts, err := transports(t.Context(), engine.Target{Scheme: scheme, Hosts: []string{n.Addr}, Params: map[string]string{}})
			if err != nil {
				t.Fatal(err)
			}
			n.MustDo(t, befall...)
			if e, err := FromTransports(t.Context(), ts); err == nil {
				e.Close()
				t.Error("opened")
			}
			for _, s := range theScripts.all() {
				if known := n.MustDo(t, "SCRIPT", "EXISTS", s.SHA); known.([]any)[0] != int64(0) {
					t.Errorf("a node that has just started, and of which that is not known, was given %s", s.Name)
				}
			}
		})
	}
}

// Scripts that somebody flushed are loaded again: the node has run for long enough.
func TestScriptsThatWereFlushedAreLoadedAgain(t *testing.T) {
	t.Parallel()
	nodes, _ := oldNodes(t, 3)
	c := clientOn(t, openAt(t, addresses(nodes)), ttl)
	for range 3 {
		for _, n := range nodes {
			n.MustDo(t, "SCRIPT", "FLUSH")
		}
		held := mutex("n")
		c.take(held)
		c.give(held)
	}
}

// openCore is a user's client over nodes.
func openCore(t *testing.T, ttl time.Duration, hosts []string, opts ...Option) *lockstep.Client {
	t.Helper()
	e := openAt(t, hosts, opts...)
	c, err := lockstep.New(e, lockstep.WithTTL(ttl), lockstep.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); e.Close() })
	return c
}

// Two nodes are cut off from the holder, and the clock of a third jumps an hour
// forward, so that it forgets: a majority could be had by another if one more fell. The holder
// stops to believe before anybody else is granted (S1), and the token rises (S2).
func TestTwoNodesCutAndOneClockJumped(t *testing.T) {
	t.Parallel()
	const ttl = 3 * time.Second
	nodes, shims := oldNodes(t, 5)
	proxies := behind(t, nodes)
	a := openCore(t, ttl, proxied(proxies))
	b := openCore(t, ttl, addresses(nodes))
	first, err := a.Mutex("n").Lock(guarded(t))
	if err != nil {
		t.Fatal(err)
	}
	await(t, "all votes: one that came after the step would live on", func() bool { return occupied(t, nodes) == 5 })
	for _, p := range proxies[:2] {
		p.Blackhole()
	}
	shims[2].Step(time.Hour)
	second, err := b.Mutex("n").Lock(guarded(t))
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Err(); !errors.Is(err, lockstep.ErrLost) {
		t.Errorf("another was granted the name, and the holder says %v (S1)", err)
	}
	if second.Token() <= first.Token() {
		t.Errorf("token %d after %d (S2)", second.Token(), first.Token())
	}
	if err := second.Release(guarded(t)); err != nil {
		t.Error(err)
	}
}

// A client is stopped while the votes for it are on their way back, for longer than they
// are good for, and another was granted the name meanwhile. When it goes on it
// does not believe them.
func TestAClientStoppedWhileRepliesWaitBelievesNoneOfThem(t *testing.T) {
	t.Parallel()
	const ttl = 2 * time.Second
	nodes := start(t, 5)
	proxies := behind(t, nodes)
	child := startChild(t, proxied(proxies), ttl)
	child.expect("ready")
	for _, p := range proxies {
		p.Delay(0, 200*time.Millisecond)
	}
	child.say("lock")
	await(t, "a majority of votes for the child", func() bool { return occupied(t, nodes) >= 3 })
	child.signal(syscall.SIGSTOP)
	await(t, "the votes to be over", func() bool { return occupied(t, nodes) == 0 })
	c := newClient(t, nodes)
	mine := mutex("n")
	g := c.take(mine)
	child.signal(syscall.SIGCONT)
	await(t, "the child to be in line", func() bool {
		l, err := c.e.Line(guarded(t), "n")
		return err == nil && len(l.Waiters) == 1
	})
	if n := votesOf(t, nodes, mine); n < 3 {
		t.Errorf("the holder has %d votes after the child went on", n)
	}
	c.give(mine)
	var token engine.Token
	if _, err := fmt.Sscanf(child.line(), "token %d", &token); err != nil || token <= g.Token {
		t.Errorf("the child was granted %d after %d, %v", token, g.Token, err)
	}
}

// occupied is how many nodes have given somebody their vote.
func occupied(t *testing.T, nodes []*redistest.Server) (n int) {
	t.Helper()
	for _, id := range owners(t, nodes, "n") {
		if id != "" {
			n++
		}
	}
	return n
}

// child is this test's own program as another process.
type child struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
}

const childNodes = "REDLOCK_TEST_CHILD_NODES"

func TestMain(m *testing.M) {
	if hosts := os.Getenv(childNodes); hosts != "" {
		if err := beChild(strings.Split(hosts, ",")); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// beChild locks when it is told to, with a session that nobody renews.
func beChild(hosts []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*hang)
	defer cancel()
	ttl, err := time.ParseDuration(os.Getenv("REDLOCK_TEST_CHILD_TTL"))
	if err != nil {
		return err
	}
	ts, err := transports(ctx, engine.Target{Scheme: scheme, Hosts: hosts, Params: map[string]string{}})
	if err != nil {
		return err
	}
	e, err := FromTransports(ctx, ts, young, WithNodeTimeout(hang))
	if err != nil {
		return err
	}
	defer e.Close()
	s, err := e.Begin(ctx, engine.SessionOptions{TTL: ttl})
	if err != nil {
		return err
	}
	fmt.Println("ready")
	if _, err := bufio.NewReader(os.Stdin).ReadString('\n'); err != nil {
		return err
	}
	for {
		g, err := s.Acquire(ctx, mutex("n"), false)
		if err == nil && time.Now().Before(g.Until) {
			fmt.Println("token", g.Token)
			return nil
		}
		if ctx.Err() != nil {
			return err
		}
	}
}

func startChild(t *testing.T, hosts []string, ttl time.Duration) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childNodes+"="+strings.Join(hosts, ","), "REDLOCK_TEST_CHILD_TTL="+ttl.String())
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it may have ended
		_ = cmd.Wait()
	})
	return &child{t, cmd, in, bufio.NewScanner(out)}
}

func (c *child) line() string {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatalf("the child ended: %v", c.out.Err())
	}
	return c.out.Text()
}

func (c *child) expect(want string) {
	c.t.Helper()
	if got := c.line(); got != want {
		c.t.Fatalf("the child said %q, want %q", got, want)
	}
}

func (c *child) say(what string) {
	c.t.Helper()
	if _, err := io.WriteString(c.in, what+"\n"); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) signal(s syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}
