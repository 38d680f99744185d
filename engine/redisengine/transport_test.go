package redisengine

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/internal/faultnet"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

func TestTheCodeOfAServersErrorIsFoundInAScriptsToo(t *testing.T) {
	for text, want := range map[string]string{
		"NOSCRIPT No matching script. Please use EVAL.":                                                                    "NOSCRIPT",
		"OOM command not allowed when used memory > 'maxmemory'. script: 5f, on @user_script:17.":                          "OOM",
		"ERR Error running script (call to f_5f): @user_script:17: WRONGTYPE Operation against a key holding another kind": "WRONGTYPE",
		"ERR Error running script (call to f_5f): @user_script: 17: -OOM command not allowed when used memory":             "OOM",
		"ERR unknown command 'EVALSHA'": "ERR",
	} {
		if got := code(fmt.Errorf("wrapped: %w", &ServerError{text})); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if got := code(context.Canceled); got != "" {
		t.Errorf("an error that no server answered has the code %q", got)
	}
}

// One UNSUBSCRIBE ends all that a connection listens to on a channel.
func TestWhoStopsListeningEndsNobodyElsesListening(t *testing.T) {
	server := redistest.Start(t)
	e := openOn(t, server, "")
	defer e.Close()
	type listener struct {
		up, heard chan struct{}
		ended     chan error
		stop      context.CancelFunc
	}
	listen := func() listener {
		ctx, stop := context.WithCancel(storeContext(t))
		l := listener{make(chan struct{}, 9), make(chan struct{}, 9), make(chan error, 1), stop}
		go func() {
			l.ended <- e.t.Subscribe(ctx, "lockstep:test", func() { offer(l.up, struct{}{}) }, func(string) { offer(l.heard, struct{}{}) })
		}()
		return l
	}
	stays := listen()
	<-stays.up
	for range 20 {
		goes := listen()
		<-goes.up
		goes.stop()
		<-goes.ended
		ask(t, server, "PUBLISH", "lockstep:test", "x")
		select {
		case <-stays.heard:
		case err := <-stays.ended:
			t.Fatalf("ended with another: %v", err)
		}
	}
	stays.stop()
	<-stays.ended
	next := listen() // right behind the UNSUBSCRIBE
	<-next.up
	ask(t, server, "PUBLISH", "lockstep:test", "x")
	select {
	case <-next.heard:
	case err := <-next.ended:
		t.Fatalf("ended with the one before: %v", err)
	}
	next.stop()
	<-next.ended
	await(t, "nobody to listen", func() bool {
		return number(t, server, "PUBLISH", "lockstep:test", "x") == 0
	})
}

// A deadline that is far away must not hide that the caller has left.
func TestACallObeysItsContextBeforeItsDeadline(t *testing.T) {
	server := redistest.Start(t)
	proxy := faultnet.New(t, server.Addr, faultnet.RESP)
	target := engine.Target{Scheme: schemeTCP, Hosts: []string{proxy.Addr}, Params: map[string]string{"timeout": "1h"}}
	opened, err := Driver.Open(storeContext(t), target)
	if err != nil {
		t.Fatal(err)
	}
	e := opened.(*Engine)
	for _, commands := range [][]Command{{{Args: []string{"PING"}}}, {{Args: []string{"PING"}}, {Args: []string{"PING"}}}} {
		await(t, "a connection", func() bool { return e.t.Do(storeContext(t), Command{Args: []string{"PING"}})[0].Err == nil })
		lost := proxy.Lost()
		proxy.Blackhole()
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		done := make(chan error, 1)
		go func() { done <- e.t.Do(ctx, commands...)[0].Err }()
		await(t, "the request", func() bool { return proxy.Lost() > lost })
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("%v, want its cancellation", err)
			}
		case <-time.After(30 * time.Second):
			t.Error("it waits for the reply, or its deadline")
		}
		proxy.Heal()
		proxy.Cut()
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
