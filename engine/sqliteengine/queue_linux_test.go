package sqliteengine

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// gates are those of several processes on one file.
func gates(t *testing.T, n int) []gate {
	t.Helper()
	path := filepath.Join(t.TempDir(), "gate")
	all := make([]gate, n)
	for i := range all {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if all[i], err = openGate(f, slog.New(slog.DiscardHandler)); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = all[i].close() })
	}
	return all
}

func try(t *testing.T, g *gate, want bool) {
	t.Helper()
	if ok, err := g.try(); ok != want || err != nil {
		t.Fatalf("entered %v, %v; want %v", ok, err, want)
	}
}

func TestNewcomerStepsBackForWhoeverWasWoken(t *testing.T) {
	g := gates(t, 3)
	g[0].queue.reserved.Store(systemClock{}.mono() + int64(time.Hour)) // somebody was woken
	try(t, &g[1], false)
	if ok, err := g[2].lock(); !ok || err != nil { // that one
		t.Fatal(ok, err)
	}
	if err := g[2].leave(); err != nil {
		t.Fatal(err)
	}
	try(t, &g[1], true)
}

func TestCourtesyEndsByItself(t *testing.T) {
	g := gates(t, 2)
	g[0].queue.reserved.Store(systemClock{}.mono()) // whoever was woken has been stopped
	try(t, &g[1], true)
}

func TestWaiterThatDiedIsNotWaitedFor(t *testing.T) {
	g := gates(t, 2)
	g[1].queue.join() // and it never parts
	try(t, &g[0], true)
	if err := g[0].leave(); err != nil {
		t.Fatal(err)
	}
	try(t, &g[0], true)
}

func TestWhoeverLeavesWakesASleeper(t *testing.T) {
	g := gates(t, 2)
	q := g[1].queue
	ticket := q.ticket()
	woken := make(chan struct{})
	go func() {
		q.sleep(ticket, time.Hour)
		close(woken)
	}()
	g[0].queue.leave() // before or after the sleep began: the ticket was drawn before
	select {
	case <-woken:
	case <-time.After(30 * time.Second):
		t.Fatal("it sleeps on")
	}
}

func TestGateIsOpenToAWaiterAsSoonAsItIsLeft(t *testing.T) {
	g := gates(t, 2)
	try(t, &g[0], true)
	entered := make(chan error, 1)
	go func() { entered <- g[1].enter(nil) }()
	for g[0].queue.waiting.Load() == 0 {
		time.Sleep(time.Millisecond) // until it waits
	}
	if err := g[0].leave(); err != nil {
		t.Fatal(err)
	}
	if err := <-entered; err != nil {
		t.Fatal(err)
	}
	if n := g[0].queue.waiting.Load(); n != 0 {
		t.Errorf("%d wait, by the count", n)
	}
}
