package memengine

import (
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

func (w world) put(e *Engine, key, id string) engine.Revision {
	w.Helper()
	r, err := e.Store().Commit(w.Context(), "m", engine.Tx{ID: id, Put: []engine.Entry{{Key: key, Value: []byte(id)}}})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// firstEvent is what a watch from a revision begins with.
func (w world) firstEvent(e *Engine, after engine.Revision) engine.Event {
	w.Helper()
	for ev, err := range e.Store().Watch(w.Context(), "m", after) {
		if err != nil {
			w.Fatal(err)
		}
		return ev
	}
	w.Fatal("the watch ended without an event")
	return engine.Event{}
}

func TestACommitsIDIsRememberedForAnHour(t *testing.T) {
	inBubble(t, func(w world) {
		e := w.service.Engine()
		first := w.put(e, "k", "id")
		time.Sleep(retention)
		if r := w.put(e, "k", "id"); r != first {
			t.Errorf("repeated after an hour: revision %d, want %d as then", r, first)
		}
		time.Sleep(time.Nanosecond)
		if r := w.put(e, "k", "id"); r == first {
			t.Error("still remembered after an hour: what is kept must have an end")
		}
	})
}

func TestRememberedCommitsAreBounded(t *testing.T) {
	var c commits
	now := time.Now()
	for i := range maxCommits + 10 {
		c.remember(commitID{"m", fmt.Sprint(i)}, 1, now)
		c.sweep(now)
	}
	if len(c.answers) != maxCommits || len(c.oldest) != maxCommits {
		t.Errorf("%d answers, %d in order, want %d", len(c.answers), len(c.oldest), maxCommits)
	}
}

func TestAWatcherBehindTheLogMeetsAGap(t *testing.T) {
	inBubble(t, func(w world) {
		e := w.service.Engine()
		first := w.put(e, "first", "")
		second := w.put(e, "second", "")
		for i := range maxLog - 1 {
			w.put(e, fmt.Sprint(i), "")
		}
		if ev := w.firstEvent(e, first); ev.Full || ev.Revision != second {
			t.Errorf("from the log's beginning: %d full=%v, want commit %d", ev.Revision, ev.Full, second)
		}
		w.put(e, "one more", "")
		if ev := w.firstEvent(e, first); !ev.Full || len(ev.Entries) != maxLog+2 {
			t.Errorf("behind the log: full=%v with %d entries, want the whole map", ev.Full, len(ev.Entries))
		}
	})
}

func TestTheLogIsBoundedInBytesToo(t *testing.T) {
	inBubble(t, func(w world) {
		e := w.service.Engine()
		first := w.put(e, "first", "")
		for i := range maxLogBytes/maxValue + 1 {
			tx := engine.Tx{Put: []engine.Entry{{Key: fmt.Sprint(i), Value: make([]byte, maxValue)}}}
			if _, err := e.Store().Commit(w.Context(), "m", tx); err != nil {
				t.Fatal(err)
			}
		}
		if m := w.service.maps["m"]; m.logBytes > maxLogBytes || len(m.log) != maxLogBytes/maxValue {
			t.Errorf("the log has %d commits of %d bytes", len(m.log), m.logBytes)
		}
		if ev := w.firstEvent(e, first); !ev.Full {
			t.Error("no gap where the log was cut")
		}
	})
}

func TestAWatcherLearnsThatTheServiceLostItsData(t *testing.T) {
	inBubble(t, func(w world) {
		e := w.service.Engine()
		w.put(e, "k", "")
		var events []engine.Event
		for ev, err := range e.Store().Watch(w.Context(), "m", 0) {
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, ev)
			if len(events) == 1 {
				w.service.Forget()
			}
			if len(events) == 2 {
				break
			}
		}
		if got := events[1]; !got.Full || len(got.Entries) != 0 || got.Revision <= events[0].Revision {
			t.Errorf("after the loss: %+v, want an empty map at a later revision", got)
		}
		if ev := w.firstEvent(e, events[0].Revision); !ev.Full {
			t.Error("a revision from before the loss was no gap")
		}
	})
}

func TestTokensRiseAcrossALossOfData(t *testing.T) {
	inBubble(t, func(w world) {
		a := w.session(time.Minute)
		var before engine.Grant
		for range 5 {
			c := mutex("n")
			before = w.acquire(a, c)
			if _, err := a.Release(w.Context(), c); err != nil {
				t.Fatal(err)
			}
		}
		w.service.Forget()
		if _, err := a.Renew(w.Context(), nil); !errors.Is(err, engine.ErrSessionEnded) {
			t.Errorf("Renew after the loss: %v, want ErrSessionEnded", err)
		}
		if after := w.acquire(w.session(time.Minute), mutex("n")); after.Token <= before.Token {
			t.Errorf("token %d after %d (S2)", after.Token, before.Token)
		}
	})
}

func TestAnEmptyMapIsForgottenWithItsLog(t *testing.T) {
	inBubble(t, func(w world) {
		e := w.service.Engine()
		w.put(e, "k", "")
		gone, err := e.Store().Commit(w.Context(), "m", engine.Tx{Put: []engine.Entry{{Key: "k", Deleted: true}}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(retention)
		if _, err := e.Store().Commit(w.Context(), "other", engine.Tx{Put: []engine.Entry{{Key: "k"}}}); err != nil {
			t.Fatal(err)
		}
		if m := w.service.maps["m"]; m != nil {
			t.Errorf("an empty map is still there after %v: %+v", retention, m)
		}
		if ev := w.firstEvent(e, gone-1); !ev.Full || ev.Revision < gone {
			t.Errorf("from before it was emptied: %+v, want the whole, empty map", ev)
		}
	})
}

func TestCloseEndsWhatWaits(t *testing.T) {
	inBubble(t, func(w world) {
		w.acquire(w.session(time.Minute), mutex("n"))
		s := w.session(time.Minute)
		waiter := w.wait(s, mutex("n"))
		watches := make(chan error, 2)
		go func() {
			for _, err := range s.engine.WatchLine(w.Context(), "n") {
				if err != nil {
					watches <- err
				}
			}
		}()
		go func() {
			for _, err := range s.engine.Store().Watch(w.Context(), "m", 0) {
				if err != nil {
					watches <- err
				}
			}
		}()
		synctest.Wait()
		s.engine.Close()
		synctest.Wait()
		if len(waiter) != 1 || len(watches) != 2 {
			t.Fatalf("Close ended %d of 1 Acquire and %d of 2 watches", len(waiter), len(watches))
		}
		for what, err := range map[string]error{"Acquire": (<-waiter).err, "a watch": <-watches, "the other watch": <-watches} {
			if !errors.Is(err, engine.ErrClosed) {
				t.Errorf("%s at Close: %v, want ErrClosed", what, err)
			}
		}
	})
}

func TestDriverRefusesWhatItDoesNotKnow(t *testing.T) {
	for name, target := range map[string]engine.Target{
		"a parameter": {Scheme: "mem", Params: map[string]string{"ttl": "1s"}},
		"a host":      {Scheme: "mem", Hosts: []string{"localhost"}},
		"a path":      {Scheme: "mem", Path: "/x"},
		"a password":  {Scheme: "mem", Password: "secret"},
	} {
		if _, err := Driver.Open(t.Context(), target); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%s: %v, want ErrInvalid", name, err)
		}
	}
	e, err := Driver.Open(t.Context(), engine.Target{Scheme: "mem"})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}
