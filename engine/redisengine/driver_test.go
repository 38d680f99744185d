package redisengine

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

func TestBadTargetsAreRefusedWithWhatWouldBeRight(t *testing.T) {
	with := func(param, value string) engine.Target {
		return engine.Target{Scheme: "redis", Hosts: []string{"127.0.0.1:1"}, Params: map[string]string{param: value}}
	}
	for name, c := range map[string]struct {
		target engine.Target
		words  string
	}{
		"no host":            {engine.Target{Scheme: "redis"}, "redis://127.0.0.1:6379"},
		"several hosts":      {engine.Target{Scheme: "redis", Hosts: []string{"a", "b"}}, "one host"},
		"a database's name":  {engine.Target{Scheme: "redis", Hosts: []string{"a"}, Path: "/x"}, "number"},
		"a relative socket":  {engine.Target{Scheme: "redis+unix", Hosts: []string{"a"}, Path: "/s"}, "whole path"},
		"unknown parameters": {with("tls", "1"), "takes dial-timeout, pool, prefix, timeout"},
		"a bad duration":     {with("timeout", "5"), "5s"},
		"a bad pool":         {with("pool", "3"), "power of two"},
		"a prefix with tags": {with("prefix", "{x}"), "braces"},
	} {
		_, err := Driver.Open(t.Context(), c.target)
		if !errors.Is(err, engine.ErrInvalid) || !strings.Contains(err.Error(), c.words) {
			t.Errorf("%s: %v, want ErrInvalid with %q", name, err, c.words)
		}
	}
}

func TestAWrongPasswordIsAClearErrorAndIsNotShown(t *testing.T) {
	server := redistest.Start(t)
	ask(t, server, "CONFIG", "SET", "requirepass", "right")
	for name, password := range map[string]string{"wrong": "hunter2", "none": ""} {
		_, err := Driver.Open(storeContext(t), engine.Target{Scheme: "redis", Hosts: []string{server.Addr}, Password: password})
		if !errors.Is(err, engine.ErrUnusable) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: %v, want ErrUnusable without the password", name, err)
		}
	}
	e, err := Driver.Open(storeContext(t), engine.Target{Scheme: "redis", Hosts: []string{server.Addr}, Password: "right"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func TestASocketAndADatabaseAreReached(t *testing.T) {
	server := redistest.Start(t)
	target := engine.Target{Scheme: "redis+unix", Path: server.Socket, Params: map[string]string{"db": "3", "pool": "2", "timeout": "2s"}}
	e, err := Driver.Open(storeContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	c := clientOn(t, e.(*Engine), time.Minute)
	c.take(mutex("there"))
	if keys := ask(t, server, "INFO", "keyspace").(string); !strings.Contains(keys, "db3:") || strings.Contains(keys, "db0:") {
		t.Errorf("the lock is not in database 3: %q", keys)
	}
}

// A server that takes connections and says nothing must not hold up a caller that
// has a context.
func TestOpenObeysItsContextWhileTheServerIsSilent(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	ctx, cancel := context.WithCancel(t.Context())
	accepted := make(chan struct{})
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		if _, err := conn.Read(make([]byte, 1)); err == nil { // the client is connected, and waits for an answer
			close(accepted)
		}
		<-t.Context().Done()
	}()
	go func() {
		<-accepted
		cancel()
	}()
	patient := map[string]string{"timeout": "1h", "dial-timeout": "1h"}
	target := engine.Target{Scheme: "redis", Hosts: []string{listener.Addr().String()}, Params: patient}
	if _, err := Driver.Open(ctx, target); !errors.Is(err, context.Canceled) {
		t.Errorf("open: %v, want the context's error", err)
	}
}
