package enginetest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/lockstep-go/lockstep/engine"
)

var commitChecks = []check{
	{rule: "what was put is got, listed and deleted", needs: needStore, run: putGetListDelete},
	{rule: "entries carry the revision of the commit that wrote them", needs: needStore, run: entriesCarryRevisions},
	{rule: "each commit has a greater revision", needs: needStore, run: revisionsRise},
	{rule: "a commit is all of its keys at once", needs: needStore, run: commitIsAtomic},
	{rule: "a commit repeated by its ID is done once and answered as then", needs: needStore, run: commitOnce},
	{rule: "a commit repeated at the same time is done once", needs: needStore, run: commitOnceConcurrently},
	{rule: "a commit that changes nothing raises no revision", needs: needStore, run: commitOfNothing},
	{rule: "values of any bytes come back as they were", needs: needStore, run: anyValue},
	{rule: "values are copied", needs: needStore, run: valuesAreCopied},
	{rule: "maps are apart", needs: needStore, run: mapsAreApart},
	{rule: "a list is in byte order and complete", needs: needStore, run: listInOrder},
	{rule: "an unused map is empty", needs: needStore, run: unusedMap},
}

func put(key, value string) engine.Entry { return engine.Entry{Key: key, Value: []byte(value)} }

func del(key string) engine.Entry { return engine.Entry{Key: key, Deleted: true} }

// commit must succeed.
func (c *client) commit(m string, changes ...engine.Entry) engine.Revision {
	c.Helper()
	return c.commitTx(m, engine.Tx{ID: rand.Text(), Put: changes})
}

func (c *client) commitTx(m string, tx engine.Tx) engine.Revision {
	c.Helper()
	r, err := c.engine.Store().Commit(c.ctx, m, tx)
	if err != nil {
		c.Fatalf("Commit: %v", c.cause(err))
	}
	return r
}

func (c *client) get(m, key string) engine.Entry {
	c.Helper()
	e, err := c.engine.Store().Get(c.ctx, m, key)
	if err != nil {
		c.Fatalf("Get of %q: %v", key, c.cause(err))
	}
	return e
}

func (c *client) list(m string) engine.Event {
	c.Helper()
	ev, err := c.engine.Store().List(c.ctx, m)
	if err != nil {
		c.Fatalf("List: %v", c.cause(err))
	}
	if !ev.Full {
		c.Errorf("List: Full is not set")
	}
	return ev
}

// contents is a map's keys and values as text.
func contents(entries []engine.Entry) string {
	var parts []string
	for _, e := range entries {
		part := fmt.Sprintf("%q=%q", e.Key, e.Value)
		if e.Deleted {
			part = fmt.Sprintf("%q deleted", e.Key)
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, " ")
}

func (c *client) wantList(m, want string) {
	c.Helper()
	if got := contents(c.list(m).Entries); got != want {
		c.Errorf("the map is %s, want %s", got, want)
	}
}

func putGetListDelete(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	a.commit(m, put("k", "1"))
	if e := b.get(m, "k"); string(e.Value) != "1" || e.Key != "k" || e.Deleted {
		t.Errorf("Get: %+v", e)
	}
	a.commit(m, put("k", "2"))
	b.commit(m, put("l", "3"))
	b.wantList(m, `"k"="2" "l"="3"`)
	a.commit(m, del("k"))
	_, err := b.engine.Store().Get(b.ctx, m, "k")
	is(t, "Get of a deleted key", err, engine.ErrNotFound)
	b.wantList(m, `"l"="3"`)
	b.commit(m, put("k", "4"))
	a.wantList(m, `"k"="4" "l"="3"`)
}

func entriesCarryRevisions(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	r1 := a.commit(m, put("a", "1"), put("b", "1"))
	r2 := a.commit(m, put("b", "2"))
	ev := a.list(m)
	if len(ev.Entries) != 2 || ev.Entries[0].Revision != r1 || ev.Entries[1].Revision != r2 {
		t.Errorf("List after revisions %d and %d: %+v", r1, r2, ev.Entries)
	}
	if e := a.get(m, "a"); e.Revision != r1 {
		t.Errorf("Get shows revision %d, written at %d", e.Revision, r1)
	}
	if s.info.EveryChange && ev.Revision < r2 {
		t.Errorf("the list's revision is %d, its newest entry's %d", ev.Revision, r2)
	}
}

func revisionsRise(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	last := engine.Revision(0)
	for i := range 12 {
		c := []*client{a, b}[i%2]
		change := put(fmt.Sprint(i/4), "v") // some keys are new, some are written again
		if i%4 == 3 {
			change = del(fmt.Sprint(i / 4))
		}
		r := c.commit(m, change)
		if r <= last {
			t.Errorf("revision %d after %d", r, last)
		}
		last = r
	}
}

// commitIsAtomic has writers put one value under two keys, and lists.
func commitIsAtomic(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	a.commit(m, put("x", "start"), put("y", "start"))
	var writer sync.WaitGroup
	stop := make(chan struct{})
	writer.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			v := fmt.Sprint(i)
			if _, err := a.engine.Store().Commit(a.ctx, m, engine.Tx{Put: []engine.Entry{put("x", v), put("y", v)}}); err != nil {
				t.Errorf("Commit: %v", a.cause(err))
				return
			}
		}
	})
	defer writer.Wait()
	defer close(stop)
	for range 30 {
		ev := b.list(m)
		if len(ev.Entries) != 2 {
			t.Fatalf("List: %s", contents(ev.Entries))
		}
		if s.info.EveryChange && !bytes.Equal(ev.Entries[0].Value, ev.Entries[1].Value) {
			t.Fatalf("List shows half a commit: %s", contents(ev.Entries))
		}
	}
}

func commitOnce(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	tx := engine.Tx{ID: rand.Text(), If: []engine.Cond{{Key: "k"}}, Put: []engine.Entry{put("k", "once")}}
	first := a.commitTx(m, tx)
	if r := a.commitTx(m, tx); r != first {
		t.Errorf("a repeat was answered %d, the first %d", r, first)
	}
	second := b.commit(m, put("k", "later"))
	if r := b.commitTx(m, tx); r != first {
		t.Errorf("a late repeat was answered %d, the first %d", r, first)
	}
	if e := a.get(m, "k"); string(e.Value) != "later" || e.Revision != second {
		t.Errorf("a repeat was done again: %s at %d", e.Value, e.Revision)
	}
	a.commit(m, del("k"))
	if r := a.commitTx(m, tx); r != first {
		t.Errorf("a repeat after a deletion was answered %d, the first %d", r, first)
	}
	a.wantList(m, "")
}

func commitOnceConcurrently(t TB, s *suite) {
	a, b := s.client(t), s.client(t)
	m := a.name()
	tx := engine.Tx{ID: rand.Text(), Put: []engine.Entry{put("k", "once")}}
	answers := make([]engine.Revision, 6)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			r, err := []*client{a, b}[i%2].engine.Store().Commit(a.ctx, m, tx)
			if err != nil {
				t.Errorf("Commit: %v", a.cause(err))
			}
			answers[i] = r
		})
	}
	all.Wait()
	if len(slices.Compact(answers)) != 1 {
		t.Errorf("one commit was answered %v", answers)
	}
	if e := a.get(m, "k"); e.Revision != answers[0] {
		t.Errorf("the entry is at revision %d, the commit was answered %d", e.Revision, answers[0])
	}
}

func commitOfNothing(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	before := a.commit(m, put("k", "v"))
	is0 := a.commit(m)
	gone := a.commit(m, del("never there"))
	after := a.commit(m, put("k", "w"))
	if is0 < before || gone < before || is0 >= after || gone >= after {
		t.Errorf("between commits %d and %d, commits of nothing were answered %d and %d", before, after, is0, gone)
	}
	if !s.info.EveryChange {
		return
	}
	for ev, err := range a.engine.Store().Watch(a.ctx, m, before) {
		if err != nil {
			t.Fatalf("Watch: %v", a.cause(err))
		}
		if !ev.Full && len(ev.Entries) == 0 {
			continue // "still current"
		}
		if ev.Revision != after || ev.Full {
			t.Errorf("after commits of nothing the watch shows %d (full %v), want %d", ev.Revision, ev.Full, after)
		}
		break
	}
}

func anyValue(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	bytesOf := make([]byte, 256)
	for i := range bytesOf {
		bytesOf[i] = byte(i)
	}
	for key, value := range map[string]string{"": "the map's own value", "empty": "", "binary": string(bytesOf), "zero": "\x00"} {
		a.commit(m, put(key, value))
		if e := a.get(m, key); string(e.Value) != value || e.Key != key {
			t.Errorf("key %q: put %q, got %q under %q", key, value, e.Value, e.Key)
		}
	}
	if n := len(a.list(m).Entries); n != 4 {
		t.Errorf("the list has %d entries, want 4", n)
	}
}

func valuesAreCopied(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	value := []byte("value")
	a.commit(m, engine.Entry{Key: "k", Value: value})
	value[0] = 'X'
	got := a.get(m, "k")
	got.Value[1] = 'X'
	a.list(m).Entries[0].Value[2] = 'X'
	a.wantList(m, `"k"="value"`)
}

func mapsAreApart(t TB, s *suite) {
	a := s.client(t)
	m, n := a.name(), a.name()
	a.commit(m, put("k", "m"))
	a.commit(n, put("k", "n"))
	a.commit(n, del("k"))
	a.wantList(m, `"k"="m"`)
	a.wantList(n, "")
	a.wantList(m+"-and-more", "")
}

func listInOrder(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	var keys []string
	for i := range 120 {
		keys = append(keys, fmt.Sprintf("key-%d", i))
	}
	keys = append(keys, "", "A", "a", "ä", "Z", "z", "a b", "a-b", "a0", "%", "_")
	for chunk := range slices.Chunk(keys, 25) {
		var changes []engine.Entry
		for _, k := range chunk {
			changes = append(changes, put(k, k))
		}
		a.commit(m, changes...)
	}
	slices.Sort(keys)
	var got []string
	for _, e := range a.list(m).Entries {
		got = append(got, e.Key)
		if string(e.Value) != e.Key {
			t.Errorf("key %q has the value of %q", e.Key, e.Value)
		}
	}
	if !slices.Equal(got, keys) {
		t.Errorf("the list has keys %q, want %q", got, keys)
	}
}

func unusedMap(t TB, s *suite) {
	a := s.client(t)
	m := a.name()
	a.wantList(m, "")
	_, err := a.engine.Store().Get(a.ctx, m, "k")
	is(t, "Get", err, engine.ErrNotFound)
}
