package enginetest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync"

	"github.com/lockstep-go/lockstep/engine"
)

var conditionChecks = []check{
	{rule: "revision 0 means that the key is not there", needs: needStore, run: conditionNotThere},
	{rule: "a condition holds at exactly its revision", needs: needStore, run: conditionExact},
	{rule: "one condition that fails stops the whole commit", needs: needStore, run: conditionStopsAll},
	{rule: "a condition may be on a key that is not written", needs: needStore, run: conditionElsewhere},
	{rule: "a commit refused by a condition may be repeated when it holds", needs: needStore, run: conditionThenHolds},
	{rule: "of two commits on one revision one wins", needs: needStore, run: oneWins},
	{rule: "a counter by conditions is exact", needs: needStore, run: exactCounter},
}

// conflicts must fail by its conditions.
func (c *client) conflicts(m string, tx engine.Tx) {
	c.Helper()
	r, err := c.engine.Store().Commit(c.ctx, m, tx)
	if !errors.Is(err, engine.ErrConflict) {
		c.Errorf("Commit against its conditions %+v: revision %d, %v", tx.If, r, c.cause(err))
	}
}

func conditionNotThere(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	create := func(v string) engine.Tx {
		return engine.Tx{ID: rand.Text(), If: []engine.Cond{{Key: "k"}}, Put: []engine.Entry{put("k", v)}}
	}
	a.commitTx(m, create("first"))
	a.conflicts(m, create("second"))
	a.wantList(m, `"k"="first"`)
	a.commit(m, del("k"))
	a.commitTx(m, create("third"))
	a.wantList(m, `"k"="third"`)
}

func conditionExact(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	r1 := a.commit(m, put("k", "1"))
	r2 := a.commit(m, put("k", "2"))
	for _, wrong := range []engine.Revision{0, r1, r2 + 1} {
		a.conflicts(m, engine.Tx{If: []engine.Cond{{Key: "k", Revision: wrong}}, Put: []engine.Entry{put("k", "x")}})
		a.conflicts(m, engine.Tx{If: []engine.Cond{{Key: "k", Revision: wrong}}, Put: []engine.Entry{del("k")}})
	}
	a.conflicts(m, engine.Tx{If: []engine.Cond{{Key: "other", Revision: r2}}, Put: []engine.Entry{put("k", "x")}})
	a.wantList(m, `"k"="2"`)
	a.commitTx(m, engine.Tx{If: []engine.Cond{{Key: "k", Revision: r2}}, Put: []engine.Entry{put("k", "3")}})
	a.wantList(m, `"k"="3"`)
}

func conditionStopsAll(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	r := a.commit(m, put("a", "1"), put("b", "1"))
	a.conflicts(m, engine.Tx{
		If:  []engine.Cond{{Key: "a", Revision: r}, {Key: "b"}},
		Put: []engine.Entry{put("a", "2"), del("b"), put("c", "2")},
	})
	a.wantList(m, `"a"="1" "b"="1"`)
	if e := a.get(m, "a"); e.Revision != r {
		t.Errorf("a refused commit moved a revision from %d to %d", r, e.Revision)
	}
}

func conditionElsewhere(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	r := a.commit(m, put("guard", ""))
	guarded := engine.Tx{If: []engine.Cond{{Key: "guard", Revision: r}}, Put: []engine.Entry{put("k", "v")}}
	a.commitTx(m, guarded)
	a.commit(m, put("guard", ""))
	guarded.Put = []engine.Entry{put("k", "w")}
	a.conflicts(m, guarded)
	a.wantList(m, `"guard"="" "k"="v"`)
}

func conditionThenHolds(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	a.commit(m, put("k", "in the way"))
	tx := engine.Tx{ID: rand.Text(), If: []engine.Cond{{Key: "k"}}, Put: []engine.Entry{put("k", "mine")}}
	a.conflicts(m, tx)
	a.conflicts(m, tx)
	a.commit(m, del("k"))
	a.commitTx(m, tx)
	a.wantList(m, `"k"="mine"`)
}

func oneWins(t TB, s *suite) {
	clients := []*client{s.client(t), s.client(t)}
	m := clients[0].name()
	for round := range 8 {
		r := clients[0].commit(m, put("k", "start"))
		errs := make([]error, 4)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				_, errs[i] = clients[i%2].engine.Store().Commit(clients[0].ctx, m, engine.Tx{
					ID: rand.Text(), If: []engine.Cond{{Key: "k", Revision: r}}, Put: []engine.Entry{put("k", fmt.Sprint(i))},
				})
			})
		}
		all.Wait()
		won := 0
		for _, err := range errs {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, engine.ErrConflict):
				t.Fatalf("Commit: %v", clients[0].cause(err))
			}
		}
		if won != 1 {
			t.Fatalf("round %d: %d of 4 commits on one revision won", round, won)
		}
	}
}

// exactCounter adds from several clients, each by reading, adding one and
// committing if unchanged, until it has won so many times.
func exactCounter(t TB, s *suite) {
	const clients, additions = 3, 10
	m := ""
	var all sync.WaitGroup
	var first *client
	for range clients {
		c := s.client(t)
		if first == nil {
			first, m = c, c.name()
			c.commit(m, put("", "0"))
		}
		all.Go(func() {
			for done := 0; done < additions; {
				e, err := c.engine.Store().Get(c.ctx, m, "")
				if err != nil {
					t.Errorf("Get: %v", c.cause(err))
					return
				}
				n, _ := strconv.Atoi(string(e.Value))
				_, err = c.engine.Store().Commit(c.ctx, m, engine.Tx{
					ID: rand.Text(), If: []engine.Cond{{Revision: e.Revision}}, Put: []engine.Entry{put("", strconv.Itoa(n+1))},
				})
				switch {
				case err == nil:
					done++
				case !errors.Is(err, engine.ErrConflict):
					t.Errorf("Commit: %v", c.cause(err))
					return
				}
			}
		})
	}
	all.Wait()
	if e := first.get(m, ""); string(e.Value) != strconv.Itoa(clients*additions) {
		t.Errorf("%d clients added %d each: the counter is %s", clients, additions, e.Value)
	}
}
