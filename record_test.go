package lockstep_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

// stored puts a record as another version of Lockstep would.
func (s *service) stored(name, value string) {
	s.t.Helper()
	_, err := s.s.Engine().Store().Commit(s.t.Context(), name, engine.Tx{Put: []engine.Entry{{Value: []byte(value)}}})
	wantNo(s.t, err)
}

func (s *service) has(name string) bool {
	s.t.Helper()
	_, err := s.s.Engine().Store().Get(s.t.Context(), name, "")
	if err != nil && !errors.Is(err, engine.ErrNotFound) {
		s.t.Fatal(err)
	}
	return err == nil
}

// S13: what earlier versions wrote is read, and its neighbours, which add what
// this one need not know, too.
func TestRecordsOfLayoutOneAreRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		far := time.Now().Add(time.Hour).UnixMilli()
		s.stored(".counter.n", `{"layout":1,"state":{"n":7}}`)
		s.stored(".latch.n", `{"layout":1,"state":{"n":3,"left":0},"new":true}`)
		s.stored(".result.n", fmt.Sprintf(`{"layout":1,"ends":%d,"state":{"token":5,"done":true,"result":"cmVzdWx0"}}`, far))
		s.stored(".ballot.n", `{"layout":1,"state":{"n":2,"rule":"all","votes":[{"voter":"a","choice":"yes"}]}}`)
		s.stored(".ticks.n", fmt.Sprintf(`{"layout":1,"state":{"floor":%d,"taken":[]}}`, time.Now().UnixNano()))
		s.stored(".phases.n", `{"layout":1,"state":{"phases":[{"number":6,"members":["x"]}]}}`)

		wantCount(t, c.Counter("n"), 7)
		wantNo(t, c.Latch("n", 3).Wait(t.Context()))
		r, err := c.Once("n").Get(t.Context())
		if wantNo(t, err); string(r) != "result" {
			t.Errorf("result %q", r)
		}
		b := c.Ballot("n", lockstep.AnyVoters(2)).Rule(lockstep.RuleAll)
		vote(t, b, "a", "no", "yes")
		take(t, c.Ticks("n"), time.Now(), false)
		stay, err := c.Barrier("n", 1).Enter(t.Context())
		if wantNo(t, err); stay.Phase() != 7 {
			t.Errorf("phase %d", stay.Phase())
		}
		wantNo(t, stay.Leave(t.Context()))
	})
}

// eachUse is every primitive that keeps a record, by the record's name, and one
// call of each that reads it.
func eachUse(ctx context.Context, c *lockstep.Client) map[string]error {
	_, counter := c.Counter("n").Add(ctx, 1)
	_, latch := c.Latch("n", 1).CountDown(ctx)
	_, once := c.Once("n").Do(ctx, func(context.Context) ([]byte, error) { return nil, nil })
	_, ballot := c.Ballot("n", lockstep.AnyVoters(1)).Vote(ctx, "a", "yes")
	_, ticks := c.Ticks("n").Take(ctx, time.Now())
	return map[string]error{
		".counter.n": counter, ".latch.n": latch, ".result.n": once, ".ballot.n": ballot, ".ticks.n": ticks,
		".phases.n": c.Barrier("n", 1).Wait(ctx),
	}
}

// S13: what this version cannot honour it refuses, and leaves as it is.
func TestRecordsOfANewerLayoutAreRefusedLoudly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		names := eachUse(t.Context(), newService(t).client())
		for name := range names {
			s.stored(name, `{"layout":2,"state":"in a form of its own"}`)
		}
		for name, err := range eachUse(t.Context(), s.client()) {
			if !errors.Is(err, lockstep.ErrUnsupported) || !strings.Contains(err.Error(), "newer Lockstep") {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, waits := range []error{
			s.client().Latch("n", 1).Wait(t.Context()),
			second(s.client().Ballot("n", lockstep.AnyVoters(1)).Decision(t.Context())),
		} {
			wantErr(t, waits, lockstep.ErrUnsupported)
		}
		for name := range names {
			if e, err := s.s.Engine().Store().Get(t.Context(), name, ""); err != nil || !strings.Contains(string(e.Value), `:2,`) {
				t.Errorf("%s is now %s, %v", name, e.Value, err)
			}
			s.stored(name, "not ours")
		}
		for name, err := range eachUse(t.Context(), s.client()) {
			if !errors.Is(err, lockstep.ErrMismatch) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestWhatRecordsAreOfIsRefusedAnEngineWithoutAStore(t *testing.T) {
	s := newService(t)
	for name, err := range eachUse(t.Context(), s.over(&rig{Engine: storeless{s.s.Engine()}})) {
		if !errors.Is(err, lockstep.ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if line, err := s.s.Engine().Line(t.Context(), ".barrier.n"); err != nil || len(line.Holders) > 0 {
		t.Errorf("and yet in line: %+v, %v", line, err)
	}
}

// S12: records go when their retention is over, with their places in the list;
// those that are used again stay, and so does what users store.
func TestRecordsAreForgottenAfterTheirRetention(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		for name, err := range eachUse(t.Context(), c) {
			if err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		wantNo(t, c.Close()) // it would renew its session for days
		vote(t, s.client().Ballot("kept", lockstep.AnyVoters(2)), "a", "yes", "yes")
		time.Sleep(20 * time.Hour)
		vote(t, s.client().Ballot("kept", lockstep.AnyVoters(2)), "b", "yes", "yes")
		time.Sleep(20 * time.Hour)
		vote(t, s.client().Ballot("new", lockstep.AnyVoters(1)), "a", "yes", "yes") // looks through the list
		for name := range eachUse(t.Context(), newService(t).client()) {
			if stays := name == ".counter.n" || name == ".latch.n"; s.has(name) != stays {
				t.Errorf("%s: there %v; want %v", name, !stays, stays)
			}
		}
		if !s.has(".ballot.kept") || !s.has(".ballot.new") {
			t.Error("a vote is forgotten before its time")
		}
		list, err := s.s.Engine().Store().List(t.Context(), ".kept")
		if wantNo(t, err); len(list.Entries) != 2 {
			t.Errorf("the list has %d entries: %+v", len(list.Entries), list.Entries)
		}
		time.Sleep(30 * time.Hour)
		vote(t, s.client().Ballot("newer", lockstep.AnyVoters(1)), "a", "yes", "yes")
		if s.has(".ballot.kept") {
			t.Error("a vote that was put down for later is not forgotten")
		}
	})
}

// The record of a function that still runs says which token began last, whatever
// its retention.
func TestARecordInUseIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		r, err := s.client().Once("long").Keep(time.Minute).Do(t.Context(), func(ctx context.Context) ([]byte, error) {
			time.Sleep(3 * time.Hour)
			vote(t, s.client().Ballot("new", lockstep.AnyVoters(1)), "a", "yes", "yes") // looks through the list
			return []byte("done"), ctx.Err()
		})
		wantNo(t, err)
		if string(r) != "done" {
			t.Errorf("result %q", r)
		}
		time.Sleep(3 * time.Hour)
		vote(t, s.client().Ballot("newer", lockstep.AnyVoters(1)), "a", "yes", "yes")
		if s.has(".result.long") {
			t.Error("it stays after its use")
		}
	})
}

func TestNamesOfLockstepsOwnAreShownToNobody(t *testing.T) {
	s := newService(t)
	c := s.client()
	stay, err := c.Barrier("n", 1).Enter(t.Context())
	wantNo(t, err)
	lock(t, c.Mutex("mine"))
	var names []string
	for name, err := range c.Names(t.Context(), "") {
		wantNo(t, err)
		names = append(names, name)
	}
	if fmt.Sprint(names) != "[mine]" {
		t.Errorf("names %q", names)
	}
	wantNo(t, stay.Leave(t.Context()))
	_, err = lockstep.New(s.s.Engine(), lockstep.WithPrefix(".counter."))
	wantErr(t, err, lockstep.ErrInvalid)
	_, err = c.Counter(strings.Repeat("n", 505)).Get(t.Context())
	wantErr(t, err, lockstep.ErrInvalid)
	if !strings.Contains(err.Error(), "may have 503") {
		t.Error(err)
	}
	_, err = c.Counter(strings.Repeat("n", 503)).Get(t.Context())
	wantNo(t, err)
}

func TestPrefixesKeepRecordsApart(t *testing.T) {
	s := newService(t)
	a, b := s.client(lockstep.WithPrefix("a/")), s.client()
	_, err := a.Counter("n").Add(t.Context(), 1)
	wantNo(t, err)
	wantCount(t, b.Counter("n"), 0)
	wantCount(t, b.Counter("a/n"), 1)
}
