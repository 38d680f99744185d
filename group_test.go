package lockstep_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func join(t *testing.T, g *lockstep.Group, id, data string) *lockstep.Membership {
	t.Helper()
	m, err := g.Join(t.Context(), id, []byte(data))
	wantNo(t, err)
	return m
}

func showMembers(members []lockstep.Member) string {
	var all []string
	for _, m := range members {
		all = append(all, m.ID+"="+string(m.Data))
	}
	return strings.Join(all, " ")
}

// wantMembers fails unless these are in the group, in this order.
func wantMembers(t *testing.T, g *lockstep.Group, want string) {
	t.Helper()
	members, err := g.Members(t.Context())
	wantNo(t, err)
	if got := showMembers(members); got != want {
		t.Fatalf("in the group are %q; want %q", got, want)
	}
}

// gathering is somebody who watches a group.
type gathering struct {
	t     *testing.T
	mu    sync.Mutex
	shown []string
	err   error
}

func watchGroup(t *testing.T, g *lockstep.Group) *gathering {
	w := &gathering{t: t}
	go func() {
		for members, err := range g.Watch(t.Context()) {
			w.mu.Lock()
			w.err = err
			if err == nil {
				w.shown = append(w.shown, showMembers(members))
			}
			w.mu.Unlock()
		}
	}()
	return w
}

func (w *gathering) want(shown ...string) {
	w.t.Helper()
	synctest.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Equal(w.shown, shown) {
		w.t.Fatalf("shown %q; want %q", w.shown, shown)
	}
	w.shown = nil
}

func TestMembersSeeWhoJoinsChangesAndLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		g := s.client().Group("g")
		w := watchGroup(t, s.client().Group("g"))
		w.want("")
		a := join(t, g, "a", "1")
		w.want("a=1")
		b := join(t, s.client().Group("g"), "b", "2\nof two lines")
		w.want("a=1 b=2\nof two lines")
		wantNo(t, a.SetData(t.Context(), []byte("3")))
		w.want("a=3 b=2\nof two lines")
		wantNo(t, b.Leave(t.Context()))
		w.want("a=3")
		wantNo(t, b.Leave(t.Context()))
		wantMembers(t, g, "a=3")
		wantErr(t, b.Err(), lockstep.ErrReleased)
		wantErr(t, b.SetData(t.Context(), nil), lockstep.ErrReleased)
		if !a.Joined() || b.Joined() || a.Err() != nil || a.ID() != "a" {
			t.Errorf("a is in: %v, %v; b is in: %v", a.Joined(), a.Err(), b.Joined())
		}
	})
}

func TestAMemberWithoutAnIDGetsOneOfItsOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newService(t).client().Group("g")
		a, b := join(t, g, "", ""), join(t, g, "", "")
		if a.ID() == "" || a.ID() == b.ID() {
			t.Errorf("ids %q and %q", a.ID(), b.ID())
		}
	})
}

func TestNoTwoMembersHaveOneID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		g := s.client().Group("g")
		first := join(t, g, "a", "first")
		joined := make(chan *lockstep.Membership)
		go func() { joined <- join(t, s.client().Group("g"), "a", "second") }()
		synctest.Wait()
		wantMembers(t, g, "a=first")
		_, err := s.client().Group("g", lockstep.WithWait(time.Minute)).Join(t.Context(), "a", []byte("third"))
		wantErr(t, err, lockstep.ErrHeld)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err = s.client().Group("g").Join(ctx, "a", nil)
		wantErr(t, err, context.DeadlineExceeded)
		wantMembers(t, g, "a=first")
		wantNo(t, first.Leave(t.Context()))
		<-joined
		wantMembers(t, g, "a=second")
		synctest.Wait()
		line, err := s.client().Line(t.Context(), "g")
		wantNo(t, err)
		if len(line.Holders) != 1 {
			t.Errorf("who gave up is still in line: %+v", line.Holders)
		}
	})
}

// Many with few ids: each id has one member at any time, and whoever waits is let
// in when it is free.
func TestIDsAreUniqueWhoeverComesAndGoes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		var mu sync.Mutex
		inside := map[string]int{}
		var all sync.WaitGroup
		for i := range 12 {
			g, id := s.client().Group("g"), string(rune('a'+i%3))
			all.Go(func() {
				for range 20 {
					m := join(t, g, id, "")
					mu.Lock()
					if inside[id]++; inside[id] > 1 {
						t.Errorf("%d members are called %s", inside[id], id)
					}
					mu.Unlock()
					time.Sleep(time.Millisecond)
					mu.Lock()
					inside[id]--
					mu.Unlock()
					wantNo(t, m.Leave(t.Context()))
				}
			})
		}
		all.Wait()
		wantMembers(t, s.client().Group("g"), "")
	})
}

func TestAMemberJoinsAgainAfterItsSessionWasLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		m := join(t, c.Group("g"), "a", "1")
		token := m.Token()
		w := watchGroup(t, s.client().Group("g"))
		w.want("a=1")
		r.set(func() { r.cut = true })
		time.Sleep(2 * ttl)
		w.want("")
		if m.Joined() || m.Err() != nil {
			t.Errorf("it says that it is in (%v), or over: %v", m.Joined(), m.Err())
		}
		said := make(chan error, 1)
		go func() { said <- m.SetData(t.Context(), []byte("2")) }()
		time.Sleep(ttl)
		r.set(func() { r.cut = false })
		wantNo(t, <-said)
		time.Sleep(ttl)
		wantMembers(t, c.Group("g"), "a=2")
		if !m.Joined() || m.Token() <= token {
			t.Errorf("it is in: %v, with token %d after %d", m.Joined(), m.Token(), token)
		}
		r.set(func() { r.cut = true })
		time.Sleep(2 * ttl)
		r.set(func() { r.cut = false })
		time.Sleep(ttl)
		wantMembers(t, c.Group("g"), "a=2")
		wantNo(t, m.Leave(t.Context()))
		wantMembers(t, c.Group("g"), "")
	})
}

// The claim goes at that very moment: what was set is said by the next one.
func TestDataThatIsSetAsTheClaimGoesIsNotForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		m := join(t, c.Group("g"), "a", "1")
		var gone sync.Once
		r.set(func() {
			r.setNote = func(ctx context.Context, note []byte, next func(context.Context, []byte) error) (err error) {
				gone.Do(func() { err = engine.ErrNotFound })
				if err != nil {
					return err
				}
				return next(ctx, note)
			}
		})
		wantNo(t, m.SetData(t.Context(), []byte("2")))
		wantMembers(t, s.client().Group("g"), "a=2")
	})
}

func TestAMemberThatWasRemovedJoinsAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		m := join(t, c.Group("g"), "a", "1")
		line, err := c.Line(t.Context(), "g")
		wantNo(t, err)
		token := m.Token()
		wantNo(t, c.Remove(t.Context(), "g", line.Holders[0].ID))
		time.Sleep(ttl)
		wantMembers(t, c.Group("g"), "a=1")
		if m.Token() <= token {
			t.Errorf("token %d after %d", m.Token(), token)
		}
		wantNo(t, m.Err())
	})
}

func TestAMemberThatLeavesWhileItJoinsAgainDoesNotComeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		m := join(t, c.Group("g"), "a", "1")
		r.set(func() { r.cut = true })
		time.Sleep(2 * ttl)
		wantNo(t, m.Leave(t.Context()))
		r.set(func() { r.cut = false })
		time.Sleep(3 * ttl)
		wantMembers(t, s.client().Group("g"), "")
		wantErr(t, m.Err(), lockstep.ErrReleased)
	})
}

func TestAMemberThatCannotJoinAgainSaysWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c, r := s.rigged()
		m := join(t, c.Group("g"), "a", "1")
		r.set(func() { r.cut = true })
		time.Sleep(2 * ttl)
		lock(t, s.client().Mutex("g"))
		r.set(func() { r.cut = false })
		time.Sleep(ttl)
		wantErr(t, m.Err(), lockstep.ErrMismatch)
		wantErr(t, m.SetData(t.Context(), nil), lockstep.ErrMismatch)
		wantNo(t, m.Leave(t.Context()))
	})
}

func TestAClosedClientIsInNoGroup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		m := join(t, c.Group("g"), "a", "1")
		wantNo(t, c.Close())
		wantMembers(t, s.client().Group("g"), "")
		wantErr(t, m.Err(), lockstep.ErrClosed)
		_, err := c.Group("g").Join(t.Context(), "b", nil)
		wantErr(t, err, lockstep.ErrClosed)
	})
}

func TestWhatCanBeNoMemberIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newService(t).client()
		for _, bad := range []struct {
			id   string
			data []byte
		}{
			{strings.Repeat("x", lockstep.MaxKey+1), nil},
			{"line\nbreak", nil},
			{"a", make([]byte, lockstep.MaxNote)},
		} {
			_, err := c.Group("g").Join(t.Context(), bad.id, bad.data)
			wantErr(t, err, lockstep.ErrInvalid)
		}
		lock(t, c.Mutex("n"))
		_, err := c.Group("n").Members(t.Context())
		wantErr(t, err, lockstep.ErrMismatch)
		_, err = c.Group("n").Join(t.Context(), "a", nil)
		wantErr(t, err, lockstep.ErrMismatch)
	})
}

// S13.
func TestAMemberOfANewerLayoutIsRefusedLoudly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newService(t)
		c := s.client()
		e := s.s.Engine()
		session, err := e.Begin(t.Context(), engine.SessionOptions{TTL: time.Hour})
		wantNo(t, err)
		for note, want := range map[string]error{"2 b\n": lockstep.ErrUnsupported, "else": lockstep.ErrMismatch} {
			cl := &engine.Claim{ID: "newer", Name: "g", Kind: engine.Group, Shares: 1, Limit: engine.Unlimited, Note: []byte(note)}
			_, err = session.Acquire(t.Context(), cl, false)
			wantNo(t, err)
			_, err = c.Group("g").Members(t.Context())
			wantErr(t, err, want)
			if !errors.Is(err, want) || !strings.Contains(err.Error(), "newer") {
				t.Errorf("the error does not say which claim it is: %v", err)
			}
			_, err = session.Release(t.Context(), cl)
			wantNo(t, err)
		}
		wantNo(t, session.End(t.Context(), nil))
	})
}
