package redisengine

import (
	"context"
	"fmt"
	"testing"

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
