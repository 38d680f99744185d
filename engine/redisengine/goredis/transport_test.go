package goredis

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// clientTo is a client as most programs make it.
func clientTo(t redistest.TB, addr string, change ...func(*redis.Options)) *redis.Client {
	t.Helper()
	o := &redis.Options{Addr: addr}
	for _, c := range change {
		c(o)
	}
	c := redis.NewClient(o)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func transportTo(t *testing.T, addr string, change ...func(*redis.Options)) *transport {
	t.Helper()
	tr := newTransport(clientTo(t, addr, change...))
	t.Cleanup(func() { _ = tr.Close() })
	return tr
}

func command(args ...string) redisengine.Command { return redisengine.Command{Args: args} }

func TestARequestWhoseReplyWasLostIsNotSentAgain(t *testing.T) {
	s := redistest.Start(t)
	proxy := faultnet.New(t, s.Addr, faultnet.RESP)
	proxy.ResetAtReply(faultnet.Contains("mine"))
	tr := transportTo(t, proxy.Addr)
	for name, commands := range map[string][]redisengine.Command{
		"alone":         {command("INCR", "mine:alone")},
		"in a pipeline": {command("INCR", "other"), command("INCR", "mine:in a pipeline")},
	} {
		results := tr.Do(t.Context(), commands...)
		err := results[len(results)-1].Err
		if _, answered := errors.AsType[*redisengine.ServerError](err); err == nil || answered {
			t.Errorf("%s: %v", name, err)
		}
		if n := s.MustDo(t, "GET", "mine:"+name); n != "1" {
			t.Errorf("%s: it was carried out %v times", name, n)
		}
	}
	// What this is about: the client by itself does send it again.
	_ = tr.client.Incr(t.Context(), "mine:by itself").Err()
	if n := s.MustDo(t, "GET", "mine:by itself"); n == "1" {
		t.Error("go-redis did not repeat its own: this test shows nothing any more")
	}
}

func TestRepliesComeInOrderAndInPlainForm(t *testing.T) {
	s := redistest.Start(t)
	tr := transportTo(t, s.Addr)
	results := tr.Do(t.Context(),
		command("SET", "k", "v"),
		command("GET", "k"),
		command("GET", "nothing"),
		command("INCR", "n"),
		command("LPUSH", "k", "x"),
		command("HSET", "h", "f", "1"),
		command("HGETALL", "h"),
		command("EVAL", "return {1, 'two', {3, false}}", "0"),
		command("EVAL", "redis.setresp(3); return {true, false, {double=1.5}}", "0"),
		command("GET", "k"),
	)
	want := []any{
		"OK", "v", nil, int64(1), nil, int64(1), []any{"f", "1"},
		[]any{int64(1), "two", []any{int64(3), nil}}, []any{int64(1), int64(0), "1.5"}, "v",
	}
	for i, r := range results {
		if i == 4 {
			if e, ok := errors.AsType[*redisengine.ServerError](r.Err); !ok || !strings.HasPrefix(e.Text, "WRONGTYPE") {
				t.Errorf("LPUSH on a string: %v", r.Err)
			}
			continue
		}
		if r.Err != nil || !reflect.DeepEqual(r.Value, want[i]) {
			t.Errorf("%d: %#v, %v, want %#v", i, r.Value, r.Err, want[i])
		}
	}
	for _, c := range []struct {
		command redisengine.Command
		want    any
	}{{command("GET", "k"), "v"}, {command("GET", "nothing"), nil}, {command("HGETALL", "h"), []any{"f", "1"}}} {
		if r := tr.Do(t.Context(), c.command)[0]; r.Err != nil || !reflect.DeepEqual(r.Value, c.want) {
			t.Errorf("%v alone: %#v, %v", c.command.Args, r.Value, r.Err)
		}
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	s := redistest.Start(t)
	tr := transportTo(t, s.Addr, func(o *redis.Options) { o.ReadTimeout = 2 * usualRead })
	if r := tr.Do(t.Context(), command("PING"))[0]; r.Err != nil {
		t.Fatal(r.Err)
	}
	s.Pause()
	defer s.Continue()
	get := func(key string) redisengine.Command {
		return redisengine.Command{Args: []string{"GET", key}, FirstKey: 1}
	}
	for i, commands := range [][]redisengine.Command{{get("a")}, {get("b"), get("c")}} {
		ctx, cancel := context.WithCancel(t.Context())
		answered := make(chan []redisengine.Result)
		go func() { answered <- tr.Do(ctx, commands...) }()
		select {
		case r := <-answered:
			t.Fatalf("a server that stands still answered %v", r)
		case <-time.After(10 * time.Millisecond): // it is under way, or was never begun: both must end
		}
		cancel()
		results := <-answered
		tr.mu.Lock()
		if n := len(tr.abandoned); n != []int{1, 3}[i] {
			t.Errorf("%d calls are still under way: it waited for their end", n)
		}
		tr.mu.Unlock()
		if len(results) != len(commands) || !errors.Is(results[0].Err, context.Canceled) {
			t.Errorf("%v", results)
		}
	}
}

// A caller that gave up takes back what it asked for: that must not come first.
func TestNothingOvertakesARequestThatWasGivenUp(t *testing.T) {
	s := redistest.Start(t)
	proxy := faultnet.New(t, s.Addr, faultnet.RESP)
	tr := transportTo(t, proxy.Addr)
	push := func(ctx context.Context, key, value string) error {
		return tr.Do(ctx, redisengine.Command{Args: []string{"RPUSH", key, value}, FirstKey: 1})[0].Err
	}
	held := proxy.Hold(faultnet.Contains("first"))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-held.Hit()
		cancel()
	}()
	if err := push(ctx, "k", "first"); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	second := make(chan error)
	go func() { second <- push(t.Context(), "k", "second") }()
	if err := push(t.Context(), "other", "third"); err != nil { // other keys do not wait
		t.Error(err)
	}
	select {
	case <-second:
		t.Error("it was overtaken")
	case <-time.After(20 * time.Millisecond): // the order in the end is what counts
		held.Release()
		if err := <-second; err != nil {
			t.Error(err)
		}
	}
	if got := s.MustDo(t, "LRANGE", "k", "0", "-1"); !reflect.DeepEqual(got, []any{"first", "second"}) {
		t.Errorf("carried out: %v", got)
	}
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if len(tr.abandoned) > 0 {
		t.Errorf("%d keys are remembered for ever", len(tr.abandoned))
	}
}

func TestAClientWithoutAReadTimeoutGetsOneForTheEngineAlone(t *testing.T) {
	for _, off := range []time.Duration{-1, -2, time.Hour} {
		client := clientTo(t, "127.0.0.1:1", func(o *redis.Options) { o.ReadTimeout = off })
		before := client.Options().ReadTimeout
		tr := newTransport(client)
		if got := tr.client.Options().ReadTimeout; got != usualRead {
			t.Errorf("%v: %v", off, got)
		}
		if client.Options().ReadTimeout != before {
			t.Error("the caller's client was changed")
		}
		_ = tr.Close()
	}
}

// listening is a subscription under way.
type listening struct {
	up       chan struct{}
	messages chan string
	ended    chan error
}

func listen(ctx context.Context, tr *transport) *listening {
	l := &listening{make(chan struct{}, 8), make(chan string, 8), make(chan error, 1)}
	go func() {
		l.ended <- tr.Subscribe(ctx, "c", func() { l.up <- struct{}{} }, func(m string) { l.messages <- m })
	}()
	return l
}

func TestASubscriptionIsUpWhenTheServerSaysSo(t *testing.T) {
	s := redistest.Start(t)
	tr := transportTo(t, s.Addr)
	ctx, cancel := context.WithCancel(t.Context())
	l := listen(ctx, tr)
	<-l.up
	if n := s.MustDo(t, "PUBLISH", "c", "hello"); n != int64(1) {
		t.Errorf("%v heard it", n)
	}
	if m := <-l.messages; m != "hello" {
		t.Errorf("heard %q", m)
	}
	cancel()
	if err := <-l.ended; !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if err := tr.Close(); err != nil { // waits until it is gone at the server as well
		t.Error(err)
	}
	if n := s.MustDo(t, "PUBLISH", "c", "hello"); n != int64(0) {
		t.Errorf("%v still listen", n)
	}
}

func TestASubscriptionThatBreaksEndsAndDoesNotComeBackUnseen(t *testing.T) {
	s := redistest.Start(t)
	tr := transportTo(t, s.Addr)
	l := listen(t.Context(), tr)
	<-l.up
	s.MustDo(t, "CLIENT", "KILL", "TYPE", "pubsub")
	if err := <-l.ended; err == nil || errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
	if len(l.up) > 0 {
		t.Error("it came up again by itself")
	}
}

func TestASubscriptionThatIsNotAllowedSaysSo(t *testing.T) {
	s := redistest.Start(t)
	s.MustDo(t, "ACL", "SETUSER", "deaf", "on", "nopass", "~*", "+@all", "resetchannels")
	tr := transportTo(t, s.Addr, func(o *redis.Options) { o.Username, o.Password = "deaf", "x" })
	l := listen(t.Context(), tr)
	err := <-l.ended
	if e, ok := errors.AsType[*redisengine.ServerError](err); !ok || !strings.HasPrefix(e.Text, "NOPERM") {
		t.Errorf("ended with %v", err)
	}
}

func TestASubscriptionWhoseConnectionDiedUnseenEnds(t *testing.T) {
	s := redistest.Start(t)
	proxy := faultnet.New(t, s.Addr, faultnet.RESP)
	tr := transportTo(t, proxy.Addr)
	tr.pingEvery = 20 * time.Millisecond
	l := listen(t.Context(), tr)
	<-l.up
	proxy.Blackhole()
	if err := <-l.ended; !errors.Is(err, errSilent) {
		t.Errorf("ended with %v", err)
	}
}

func TestCloseEndsCallsAndSubscriptionsAndLeavesTheClient(t *testing.T) {
	s := redistest.Start(t)
	client := clientTo(t, s.Addr)
	tr := newTransport(client)
	l := listen(t.Context(), tr)
	<-l.up
	if err := tr.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-l.ended; err == nil {
		t.Error("a subscription outlived Close")
	}
	if r := tr.Do(t.Context(), command("PING"))[0]; r.Err == nil {
		t.Error("a call after Close was made")
	}
	if err := tr.Subscribe(t.Context(), "c", func() {}, func(string) {}); err == nil {
		t.Error("a subscription after Close was made")
	}
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("the client is its owner's: %v", err)
	}
	clients := s.MustDo(t, "CLIENT", "LIST", "TYPE", "pubsub").(string)
	if slices.ContainsFunc(strings.Split(clients, "\n"), func(line string) bool { return line != "" }) {
		t.Errorf("left at the server: %s", clients)
	}
}
