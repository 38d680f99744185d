package redistest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/internal/childproc"
)

func TestAServerAnswersOnBothOfItsAddresses(t *testing.T) {
	s := Start(t)
	s.MustDo(t, "SET", "k", "a value\r\nof two lines")
	c, err := Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got, err := c.Do("GET", "k"); got != "a value\r\nof two lines" || err != nil {
		t.Errorf("GET over the port: %q, %v", got, err)
	}
}

func TestEveryKindOfAnswerIsRead(t *testing.T) {
	s := Start(t)
	for _, c := range []struct {
		want any
		ask  []string
	}{
		{"OK", []string{"SET", "s", "é"}},
		{"é", []string{"GET", "s"}},
		{nil, []string{"GET", "no such key"}},
		{int64(-2), []string{"PTTL", "no such key"}},
		{[]any{"é", nil}, []string{"MGET", "s", "no such key"}},
		{[]any{}, []string{"LRANGE", "no such key", "0", "-1"}},
	} {
		if got := s.MustDo(t, c.ask...); fmt.Sprintf("%#v", got) != fmt.Sprintf("%#v", c.want) {
			t.Errorf("%v answered %#v, want %#v", c.ask, got, c.want)
		}
	}
	var wrong Error
	if _, err := s.Do("LPUSH", "s", "x"); !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), "WRONGTYPE ") {
		t.Errorf("LPUSH on a string: %v", err)
	}
}

func TestAServerKeepsNothingOverARestartUnlessToldTo(t *testing.T) {
	for _, c := range []struct {
		args []string
		want any
	}{{nil, nil}, {[]string{"--appendonly", "yes"}, "v"}} {
		s := Start(t, c.args...)
		port, pid := s.Port, s.Pid()
		s.MustDo(t, "SET", "k", "v")
		s.Restart()
		if s.Port != port || s.Pid() == pid {
			t.Errorf("restarted on port %d with pid %d, was %d, %d", s.Port, s.Pid(), port, pid)
		}
		if got := s.MustDo(t, "GET", "k"); got != c.want {
			t.Errorf("%q: the key is %v after a restart, want %v", c.args, got, c.want)
		}
	}
}

func TestAKilledServerStartsAgain(t *testing.T) {
	s := Start(t)
	s.Kill()
	if _, err := s.Do("PING"); err == nil {
		t.Error("a killed server answers")
	}
	s.Kill() // twice is no error
	s.Restart()
	s.MustDo(t, "PING")
}

func TestAPausedServerAnswersLater(t *testing.T) {
	s := Start(t)
	s.Pause()
	c, err := s.Dial() // the kernel accepts
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := c.Send("PING"); err != nil {
		t.Fatal(err)
	}
	if !childproc.Stopped(s.Pid()) {
		t.Error("a paused server goes on")
	}
	s.Continue()
	if got, err := c.Receive(); got != "PONG" || err != nil {
		t.Errorf("after Continue: %v, %v", got, err)
	}
	s.Pause()
	s.Stop() // also one that is paused
}

func TestAPasswordIsAskedForAndKnown(t *testing.T) {
	s := StartWith(t, Options{Password: "secret"})
	s.MustDo(t, "SET", "k", "v")
	if want := "redis://:secret@" + s.Addr; s.URL() != want {
		t.Errorf("URL is %s, want %s", s.URL(), want)
	}
	c, err := Dial("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Do("GET", "k"); err == nil || !strings.HasPrefix(err.Error(), "NOAUTH") {
		t.Errorf("without the password: %v", err)
	}
}

func TestTheNewerProtocolIsReadToo(t *testing.T) {
	s := Start(t)
	c, err := s.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if hello, err := c.Do("HELLO", "3"); err != nil || !slices.Contains(hello.([]any), any("proto")) {
		t.Fatalf("HELLO 3: %v, %v", hello, err)
	}
	for _, ask := range [][]string{{"SUBSCRIBE", "ch"}, {"HSET", "h", "k", "v"}} {
		if err := c.Send(ask...); err != nil {
			t.Fatal(err)
		}
	}
	s.MustDo(t, "PUBLISH", "ch", "hi")
	c.Send("HGETALL", "h")
	for _, want := range []any{
		[]any{"subscribe", "ch", int64(1)}, int64(1), []any{"message", "ch", "hi"}, []any{"k", "v"},
	} {
		if got, err := c.Receive(); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("received %v, %v, want %v", got, err, want)
		}
	}
}

// The port may be another's at any moment: the socket is nobody else's, so what
// answers there is this server.
func TestATakenPortIsGivenUpForAnother(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := Start(t)
	s.Stop()
	s.Port = taken.Addr().(*net.TCPAddr).Port
	if err := s.start(); !errors.Is(err, childproc.ErrEnded) {
		t.Errorf("start on a taken port: %v, want %v", err, childproc.ErrEnded)
	}
}

func TestNothingIsLeftWhenATestEnds(t *testing.T) {
	var s *Server
	t.Run("a test", func(t *testing.T) {
		s = Start(t)
		s.Pause()
	})
	if !s.Ended() {
		t.Errorf("process %d goes on after its test", s.Pid())
	}
	if _, err := os.Stat(s.Dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the server's folder after its test: %v", err)
	}
}
