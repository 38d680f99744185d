package faultnet

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/internal/redistest"
)

// dial is a client behind the proxy.
func dial(t *testing.T, p *Proxy) *redistest.Conn {
	t.Helper()
	c, err := redistest.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func do(t *testing.T, c *redistest.Conn, want any, args ...string) {
	t.Helper()
	if got, err := c.Do(args...); err != nil || got != want {
		t.Fatalf("%v through the proxy: %v, %v, want %v", args, got, err, want)
	}
}

func send(t *testing.T, c *redistest.Conn, args ...string) {
	t.Helper()
	if err := c.Send(args...); err != nil {
		t.Fatal(err)
	}
}

func receive(t *testing.T, c *redistest.Conn, want any) {
	t.Helper()
	if got, err := c.Receive(); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Fatalf("received %v, %v, want %v", got, err, want)
	}
}

// ended: the connection brings nothing more, and no orderly end.
func ended(t *testing.T, c *redistest.Conn) {
	t.Helper()
	if got, err := c.Receive(); !errors.Is(err, syscall.ECONNRESET) {
		t.Fatalf("received %v, %v, want a reset", got, err)
	}
}

// await waits until a question to the server itself has this answer.
func await(t *testing.T, s *redistest.Server, want any, args ...string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for s.MustDo(t, args...) != want {
		if time.Now().After(deadline) {
			t.Fatalf("%v did not become %v", args, want)
		}
		time.Sleep(time.Millisecond)
	}
}

// awaitLost waits until the proxy has swallowed so much.
func awaitLost(t *testing.T, p *Proxy, n int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for p.Lost() < n {
		if time.Now().After(deadline) {
			t.Fatalf("swallowed %d, want %d", p.Lost(), n)
		}
		time.Sleep(time.Millisecond)
	}
}

// clients is how many connections the server has beside the one that asks.
func clients(t *testing.T, s *redistest.Server) int {
	t.Helper()
	return strings.Count(s.MustDo(t, "CLIENT", "LIST").(string), "\n") - 1
}

func awaitClients(t *testing.T, s *redistest.Server, want int) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for clients(t, s) != want {
		if time.Now().After(deadline) {
			t.Fatalf("the server has %d clients, want %d", clients(t, s), want)
		}
		time.Sleep(time.Millisecond)
	}
}

func start(t *testing.T) (*redistest.Server, *Proxy) {
	t.Helper()
	s := redistest.Start(t)
	return s, New(t, s.Addr, RESP)
}

func TestAPerfectNetworkPassesEverything(t *testing.T) {
	s, p := start(t)
	large := strings.Repeat("0123456789", 1<<17)
	for _, target := range []string{s.Addr, s.Socket} {
		for _, proto := range []Protocol{RESP, Raw} {
			c := dial(t, New(t, target, proto))
			do(t, c, "OK", "SET", "large", large)
			do(t, c, large, "GET", "large")
			send(t, c, "SET", "a", "1")
			send(t, c, "INCR", "a")
			receive(t, c, "OK")
			receive(t, c, 2)
		}
	}
	c := dial(t, p)
	send(t, c, "SUBSCRIBE", "ch")
	receive(t, c, []any{"subscribe", "ch", 1})
	s.MustDo(t, "PUBLISH", "ch", "hi")
	receive(t, c, []any{"message", "ch", "hi"})
	before := clients(t, s)
	c.Close()
	awaitClients(t, s, before-1)
}

func TestDelayKeepsTheOrder(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	do(t, c, "PONG", "PING")
	const up, down = 40 * time.Millisecond, 30 * time.Millisecond
	p.Delay(up, down)
	began := time.Now()
	send(t, c, "INCR", "a")
	send(t, c, "INCR", "a")
	await(t, s, "2", "GET", "a")
	if took := time.Since(began); took < up {
		t.Errorf("requests arrived after %v, want %v at least", took, up)
	}
	receive(t, c, 1)
	receive(t, c, 2)
	if took := time.Since(began); took < up+down {
		t.Errorf("a reply arrived after %v, want %v at least", took, up+down)
	}
}

func TestABlackholeSwallowsBothDirections(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	send(t, c, "SUBSCRIBE", "ch")
	receive(t, c, []any{"subscribe", "ch", 1})
	other := dial(t, p)
	do(t, other, "PONG", "PING")

	p.Blackhole()
	s.MustDo(t, "PUBLISH", "ch", "lost")
	send(t, other, "SET", "a", "lost")
	late := dial(t, p) // is accepted, and comes to nothing
	send(t, late, "SET", "a", "lost")
	if n := clients(t, s); n != 2 {
		t.Errorf("the server has %d clients, want the 2 from before", n)
	}
	awaitLost(t, p, 3)
	p.Heal()

	ended(t, c)
	ended(t, other)
	ended(t, late)
	do(t, dial(t, p), nil, "GET", "a")
}

// What passes after the method returned would make a test see a fault that was
// none.
func TestAChangeIsInForceWhenItsMethodReturns(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	var sent atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		for c.Send("INCR", "a") == nil {
			sent.Add(1)
		}
	}()
	go func() {
		for {
			if _, err := c.Receive(); err != nil {
				return
			}
		}
	}()
	await(t, s, int64(1), "EXISTS", "a")
	p.Blackhole()
	for range 2 { // the server has read all that had passed
		s.MustDo(t, "PING")
	}
	before, n := s.MustDo(t, "GET", "a"), sent.Load()
	for sent.Load() < n+100 {
		runtime.Gosched()
	}
	if after := s.MustDo(t, "GET", "a"); after != before {
		t.Errorf("%v became %v in a blackhole", before, after)
	}
	p.Cut()
	<-done
}

func TestABlackholeHidesThatTheClientIsGone(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	do(t, c, "PONG", "PING")
	p.Blackhole()
	c.Close()
	awaitLost(t, p, 1)
	if n := clients(t, s); n != 1 {
		t.Errorf("the server has %d clients, want the one that is gone", n)
	}
	p.Heal()
	awaitClients(t, s, 0)
}

func TestABlackholeHidesThatTheServerIsGone(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	do(t, c, "PONG", "PING")
	p.Blackhole()
	s.Restart()
	awaitLost(t, p, 1)
	if n := p.Connections(); n != 1 {
		t.Errorf("%d connections in the blackhole, want 1", n)
	}
	p.Heal()
	ended(t, c)
	do(t, dial(t, p), "PONG", "PING")
}

func TestWithoutRepliesRequestsStillPass(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	p.DropReplies()
	send(t, c, "SET", "a", "1")
	awaitLost(t, p, 1)
	if got := s.MustDo(t, "GET", "a"); got != "1" {
		t.Errorf("the request did not pass: %v", got)
	}
	p.Heal()
	ended(t, c)
}

func TestWithoutRequestsMessagesStillArrive(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	send(t, c, "SUBSCRIBE", "ch")
	receive(t, c, []any{"subscribe", "ch", 1})
	p.DropRequests()
	send(t, c, "SUBSCRIBE", "lost")
	awaitLost(t, p, 1)
	s.MustDo(t, "PUBLISH", "ch", "hi")
	receive(t, c, []any{"message", "ch", "hi"})
	if n := s.MustDo(t, "PUBLISH", "lost", "x"); n != int64(0) {
		t.Errorf("%v subscribers to what was swallowed", n)
	}
}

func TestRepliesAreLostFromACertainRequestOn(t *testing.T) {
	_, p := start(t)
	c, other := dial(t, p), dial(t, p)
	rule := p.DropRepliesFrom(Nth(2, Contains("INCR")))
	for range 3 {
		send(t, c, "INCR", "a")
	}
	receive(t, c, 1)
	awaitLost(t, p, 2)
	do(t, other, int64(4), "INCR", "a")
	p.Heal()
	ended(t, c)
	do(t, other, "PONG", "PING")
	do(t, other, int64(5), "INCR", "a")
	if n := rule.Hits(); n != 1 {
		t.Errorf("the rule matched %d times, want once", n)
	}
}

func TestMessagesAreNotTakenForReplies(t *testing.T) {
	for _, version := range []string{"2", "3"} {
		s, p := start(t)
		c := dial(t, p)
		if _, err := c.Do("HELLO", version); err != nil {
			t.Fatal(err)
		}
		send(t, c, "SUBSCRIBE", "ch", "ch2")
		receive(t, c, []any{"subscribe", "ch", 1})
		receive(t, c, []any{"subscribe", "ch2", 2})
		p.DropRepliesFrom(Nth(2, Contains("PING")))
		s.MustDo(t, "PUBLISH", "ch", "hi")
		receive(t, c, []any{"message", "ch", "hi"})
		send(t, c, "PING", "first")
		if got, err := c.Receive(); err != nil || !strings.Contains(fmt.Sprint(got), "first") {
			t.Errorf("RESP %s: the reply before the lost one: %v, %v", version, got, err)
		}
		send(t, c, "PING", "second")
		awaitLost(t, p, 1)
		s.MustDo(t, "PUBLISH", "ch", "lost")
		awaitLost(t, p, 2)
		p.Heal()
		ended(t, c)
	}
}

func TestAMessageIsLostAndNothingElse(t *testing.T) {
	for _, version := range []string{"2", "3"} {
		s, p := start(t)
		c := dial(t, p)
		if _, err := c.Do("HELLO", version); err != nil {
			t.Fatal(err)
		}
		send(t, c, "SUBSCRIBE", "ch")
		receive(t, c, []any{"subscribe", "ch", 1})
		rule := p.DropMessages(Nth(2, Contains("message")))
		for _, m := range []string{"a", "b", "c"} {
			s.MustDo(t, "PUBLISH", "ch", m)
		}
		receive(t, c, []any{"message", "ch", "a"})
		receive(t, c, []any{"message", "ch", "c"})
		if rule.Hits() != 1 || p.Lost() != 1 {
			t.Errorf("RESP %s: %d hits, %d lost, want 1", version, rule.Hits(), p.Lost())
		}
		p.Heal()
		s.MustDo(t, "PUBLISH", "ch", "d")
		receive(t, c, []any{"message", "ch", "d"})
	}
}

func TestRequestsAreCounted(t *testing.T) {
	_, p := start(t)
	c := dial(t, p)
	rule := p.Count(Contains("INCR"))
	for i := range 3 {
		do(t, c, int64(i+1), "INCR", "a")
	}
	do(t, c, "3", "GET", "a")
	if n := rule.Hits(); n != 3 {
		t.Errorf("counted %d requests, want 3", n)
	}
}

func TestAReplyCanBeAReset(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	p.ResetAtReply(Contains("SET"))
	send(t, c, "SET", "a", "1")
	ended(t, c)
	if got := s.MustDo(t, "GET", "a"); got != "1" {
		t.Errorf("the request was not carried out: %v", got)
	}
}

func TestARequestPassesTwice(t *testing.T) {
	s := redistest.StartWith(t, redistest.Options{Password: "secret"})
	p := New(t, s.Addr, RESP)
	c := dial(t, p)
	do(t, c, "OK", "AUTH", "secret")
	do(t, c, "OK", "SELECT", "5")
	p.Replay(Nth(1, Contains("INCR")))
	do(t, c, int64(1), "INCR", "a")
	do(t, c, "2", "GET", "a")
	do(t, c, int64(3), "INCR", "a")
}

func TestARequestIsHeldAndWhatFollowsIt(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	rule := p.Hold(Contains("held"))
	send(t, c, "SET", "a", "1")
	send(t, c, "SET", "a", "held")
	send(t, c, "INCR", "b")
	receive(t, c, "OK")
	<-rule.Hit()
	do(t, dial(t, p), "1", "GET", "a")
	if got := s.MustDo(t, "GET", "b"); got != nil {
		t.Errorf("a request overtook one that was held: %v", got)
	}
	rule.Release()
	receive(t, c, "OK")
	receive(t, c, 1)
	do(t, c, "OK", "SET", "a", "held no more")
}

func TestAStragglerArrivesAfterItsConnectionDied(t *testing.T) {
	for name, die := range map[string]func(*Proxy, *redistest.Conn){
		"closed":    func(_ *Proxy, c *redistest.Conn) { c.Close() },
		"cut":       func(p *Proxy, _ *redistest.Conn) { p.Cut() },
		"blackhole": func(p *Proxy, c *redistest.Conn) { p.Blackhole(); c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s, p := start(t)
			c := dial(t, p)
			do(t, c, "OK", "SELECT", "3")
			rule := p.Hold(Contains("held"))
			send(t, c, "SET", "a", "held")
			send(t, c, "INCR", "b")
			<-rule.Hit()
			die(p, c)
			awaitClients(t, s, 0)
			if got := s.MustDo(t, "INFO", "keyspace"); strings.Contains(got.(string), "db3") {
				t.Errorf("it arrived before: %v", got)
			}
			rule.Release()
			direct, err := s.Dial()
			if err != nil {
				t.Fatal(err)
			}
			defer direct.Close()
			do(t, direct, "OK", "SELECT", "3")
			do(t, direct, "held", "GET", "a")
			do(t, direct, "1", "GET", "b")
		})
	}
}

func TestHealLetsStragglersGo(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	rule := p.Hold(Any)
	send(t, c, "SET", "a", "held")
	<-rule.Hit()
	c.Close()
	awaitClients(t, s, 0)
	p.Heal()
	if got := s.MustDo(t, "GET", "a"); got != "held" {
		t.Errorf("after Heal the key is %v", got)
	}
	do(t, dial(t, p), "PONG", "PING") // nothing is held any more
}

func TestARecordedRequestComesAgain(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	rule := p.Record(Contains("INCR"))
	do(t, c, "OK", "SELECT", "2")
	do(t, c, int64(1), "INCR", "a")
	c.Close()
	for want := range 2 {
		replies, err := rule.Again()
		if err != nil || len(replies) != 1 || replies[0] != ":"+strconv.Itoa(want+2)+"\r\n" {
			t.Errorf("again: %q, %v", replies, err)
		}
	}
	awaitClients(t, s, 0)
}

func TestRefusedConnectionsAreRefused(t *testing.T) {
	_, p := start(t)
	c := dial(t, p)
	p.Refuse()
	if _, err := redistest.Dial("tcp", p.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new connection: %v, want it to be refused", err)
	}
	do(t, c, "PONG", "PING")
	p.Heal()
	do(t, dial(t, p), "PONG", "PING")
	do(t, c, "PONG", "PING")
}

func TestCutResetsBothEnds(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	do(t, c, "PONG", "PING")
	p.Cut()
	ended(t, c)
	awaitClients(t, s, 0)
	do(t, dial(t, p), "PONG", "PING")
}

// A peer that reads nothing must not keep the network from changing.
func TestAPeerThatDoesNotReadBlocksNobody(t *testing.T) {
	s, p := start(t)
	c := dial(t, p)
	do(t, c, "PONG", "PING")
	s.Pause()
	stuck := make(chan struct{})
	go func() {
		defer close(stuck)
		for c.Send("SET", "a", strings.Repeat("x", 1<<20)) == nil {
			if p.Connections() == 0 {
				return
			}
		}
	}()
	p.Blackhole()
	p.Heal()
	p.Cut()
	<-stuck
	s.Continue()
}

func TestNothingIsLeftWhenTheTestEnds(t *testing.T) {
	t.Run("a test", func(t *testing.T) {
		_, p := start(t)
		rule := p.Hold(Contains("held"))
		send(t, dial(t, p), "SET", "a", "held")
		<-rule.Hit()
		c := dial(t, p)
		p.Delay(time.Hour, 0)
		send(t, c, "PING")
		p.Blackhole()
		send(t, dial(t, p), "PING")
	})
	buf := make([]byte, 1<<20)
	stacks := buf[:runtime.Stack(buf, true)]
	if bytes.Contains(stacks, []byte("faultnet.(*link)")) || bytes.Contains(stacks, []byte("faultnet.(*Proxy)")) {
		t.Errorf("goroutines are left:\n%s", stacks)
	}
}

func TestAnyProtocolCanBeCutAndSwallowed(t *testing.T) {
	echo, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); _, _ = io.Copy(c, c) }()
		}
	}()
	p := New(t, echo.Addr().String(), Raw)
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buf := make([]byte, 5)
	fmt.Fprint(c, "hello")
	if _, err := io.ReadFull(c, buf); err != nil || string(buf) != "hello" {
		t.Errorf("read %q, %v", buf, err)
	}
	p.Blackhole()
	fmt.Fprint(c, "lost!")
	awaitLost(t, p, 1)
	p.Heal()
	if n, err := c.Read(buf); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %q, %v, want a reset", buf[:n], err)
	}
}

func TestRequestsAndRepliesAreCutRight(t *testing.T) {
	for _, whole := range []string{
		"+OK\r\n", "-ERR no\r\n", ":1\r\n", "$0\r\n\r\n", "$-1\r\n", "$2\r\n\r\n\r\n", "*0\r\n", "*-1\r\n", "_\r\n", "#t\r\n", ",1.5\r\n",
		"*2\r\n$1\r\na\r\n*1\r\n:1\r\n", "%1\r\n$1\r\na\r\n*0\r\n", "~1\r\n+a\r\n", ">2\r\n+a\r\n+b\r\n", "=5\r\ntxt:x\r\n",
		"|1\r\n+k\r\n+v\r\n:1\r\n", "PING\r\n",
	} {
		for i := range len(whole) {
			if n := respSize([]byte(whole[:i])); n != 0 {
				t.Errorf("%q is taken for whole", whole[:n])
			}
		}
		if n := respSize([]byte(whole + "+more\r\n")); n != len(whole) {
			t.Errorf("%q ends at %d, want %d", whole, n, len(whole))
		}
	}
}
