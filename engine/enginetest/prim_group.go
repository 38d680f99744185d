package enginetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

var groupChecks = []check{
	{rule: "who watches sees who joins, what they say and who leaves", needs: needGroup, run: groupWatched},
	{rule: "whatever happens to a join, its data and its leave, it is one member", needs: needGroup, run: groupOnBadNetwork},
	{rule: "no two members have one id, and who waits for it gets it", needs: needGroup, run: groupIDs},
	{rule: "a member whose session ends joins again", needs: needGroup, run: groupAgain},
	{rule: "a member that was killed is seen to be gone", needs: needGroup, run: groupKilled},
}

func showGroup(members []lockstep.Member) string {
	var all []string
	for _, m := range members {
		all = append(all, fmt.Sprintf("%s=%s", m.ID, m.Data))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

// groupLog keeps the newest that a watch of a group has shown.
type groupLog struct {
	mu   sync.Mutex
	last string
	bell chan struct{}
}

func (c *client) watchGroup(lc *lockstep.Client, name string) *groupLog {
	w := &groupLog{last: "nothing", bell: make(chan struct{}, 1)}
	c.attempts.Go(func() {
		for members, err := range lc.Group(name).Watch(c.ctx) {
			if err != nil {
				if c.ctx.Err() == nil {
					c.Errorf("Watch of a group: %v", err)
				}
				return
			}
			w.mu.Lock()
			w.last = showGroup(members)
			w.mu.Unlock()
			select {
			case w.bell <- struct{}{}:
			default:
			}
		}
	})
	return w
}

// shown waits until the newest is this.
func (c *client) shown(w *groupLog, want string) {
	c.Helper()
	for {
		w.mu.Lock()
		last := w.last
		w.mu.Unlock()
		if last == want {
			return
		}
		select {
		case <-w.bell:
		case <-c.ctx.Done():
			c.Fatalf("a watch shows %q, want %q: %v", last, want, context.Cause(c.ctx))
		}
	}
}

func (c *client) joins(lc *lockstep.Client, name, id, data string) *lockstep.Membership {
	c.Helper()
	m, err := lc.Group(name).Join(c.ctx, id, []byte(data))
	if err != nil {
		c.Fatalf("Join of %s: %v", id, c.cause(err))
	}
	return m
}

func (c *client) leaves(m *lockstep.Membership) {
	c.Helper()
	if err := m.Leave(c.ctx); err != nil {
		c.Errorf("Leave of %s: %v", m.ID(), c.cause(err))
	}
}

func groupWatched(t TB, s *suite) {
	a := s.client(t)
	lc, _ := s.coreClient(t, coreTTL)
	other, _ := s.coreClient(t, coreTTL)
	name := a.name()
	w := a.watchGroup(other, name)
	a.shown(w, "")
	first := a.joins(lc, name, "a", "1")
	a.shown(w, "a=1")
	second := a.joins(other, name, "b", "2")
	a.shown(w, "a=1 b=2")
	if err := first.SetData(a.ctx, []byte("3")); err != nil {
		t.Errorf("SetData: %v", a.cause(err))
	}
	a.shown(w, "a=3 b=2")
	if members, err := lc.Group(name).Members(a.ctx); err != nil || showGroup(members) != "a=3 b=2" || members[0].ID != "a" ||
		members[0].Token != first.Token() || members[1].Token <= members[0].Token {
		t.Errorf("the members are %+v, %v", members, err)
	}
	a.leaves(first)
	a.shown(w, "b=2")
	a.leaves(second)
	a.shown(w, "")
}

func groupOnBadNetwork(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, coreTTL)
	other, _ := s.coreClient(t, coreTTL)
	for _, fault := range networkFaults {
		name := a.name()
		w := a.watchGroup(other, name)
		f.On(Acquire, 1, fault)
		f.On(SetNote, 1, fault)
		m := a.joins(lc, name, "a", "1")
		if err := m.SetData(a.ctx, []byte("2")); err != nil {
			t.Errorf("%v: SetData: %v", fault, a.cause(err))
		}
		f.Arrived()
		a.await(name, fault.String()+": one claim", func(l engine.Line) bool { return len(l.Holders)+len(l.Waiters) == 1 })
		a.shown(w, "a=2")
		f.On(Release, 1, fault)
		a.leaves(m)
		f.Arrived()
		a.empty(name)
		a.shown(w, "")
	}
}

func groupIDs(t TB, s *suite) {
	const members, joins = 4, 3
	a := s.client(t)
	name := a.name()
	var mu sync.Mutex
	inside := map[string]int{}
	count := func(id string, by int) {
		mu.Lock()
		defer mu.Unlock()
		if inside[id] += by; inside[id] > 1 {
			t.Errorf("%d members are called %s", inside[id], id)
		}
	}
	var all sync.WaitGroup
	for i := range members {
		lc, f := s.coreClient(t, coreTTL)
		f.Random(uint64(i), 0.1, DropRequest, DropReply, Delay)
		id := string(rune('a' + i%2))
		all.Go(func() {
			for range joins {
				m, err := lc.Group(name).Join(a.ctx, id, nil)
				if err != nil {
					t.Errorf("Join of %s: %v", id, a.cause(err))
					return
				}
				count(id, 1)
				time.Sleep(work)
				count(id, -1)
				if err := m.Leave(a.ctx); err != nil {
					t.Errorf("Leave of %s: %v", id, a.cause(err))
				}
			}
		})
	}
	all.Wait()
	a.empty(name)
}

func groupAgain(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, shortTTL)
	other, _ := s.coreClient(t, coreTTL)
	name := a.name()
	w := a.watchGroup(other, name)
	m := a.joins(lc, name, "a", "1")
	a.shown(w, "a=1")
	token := m.Token()
	f.On(Renew, 1, SessionEnds)
	a.await(name, "it to be in again", func(l engine.Line) bool { return len(l.Holders) == 1 && l.Holders[0].Token > token })
	a.shown(w, "a=1")
	a.leaves(m)
	a.shown(w, "")
}

func groupKilled(t TB, s *suite) {
	a := s.client(t)
	lc, f := s.coreClient(t, shortTTL)
	other, _ := s.coreClient(t, coreTTL)
	name := a.name()
	w := a.watchGroup(other, name)
	a.joins(lc, name, "a", "1")
	stays := a.joins(other, name, "b", "2")
	a.shown(w, "a=1 b=2")
	f.Random(1, 1, DropRequest)
	a.shown(w, "b=2")
	a.leaves(stays)
}
