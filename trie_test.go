package lockstep

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
)

// entriesOf is what a reader of the trie would find, by both ways.
func entriesOf(t *testing.T, tr *trie) map[string]Revision {
	t.Helper()
	all := map[string]Revision{}
	for e := range tr.all() {
		if _, twice := all[e.Key]; twice {
			t.Fatalf("%q twice", e.Key)
		}
		all[e.Key] = e.Revision
		if got := tr.get(e.Key); got != e {
			t.Fatalf("get of %q is %v; all yields %v", e.Key, got, e)
		}
	}
	if tr.n != len(all) {
		t.Fatalf("it counts %d entries and has %d", tr.n, len(all))
	}
	return all
}

func TestATrieIsAMap(t *testing.T) {
	var tr trie
	want := map[string]Revision{}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		tr = tr.changed()
		for range 1 + random.IntN(3) {
			key := fmt.Sprint(random.IntN(2000))
			if random.IntN(3) == 0 {
				tr.remove(key)
				delete(want, key)
			} else {
				tr.put(Entry{Key: key, Revision: Revision(i)})
				want[key] = Revision(i)
			}
		}
		if i%500 == 0 && !maps.Equal(entriesOf(t, &tr), want) {
			t.Fatalf("after %d changes it has other entries than a map", i)
		}
	}
	for key := range want {
		tr.remove(key)
	}
	if tr.root != nil || tr.n != 0 {
		t.Errorf("%d entries are left of none", tr.n)
	}
}

func TestATrieThatWasShownNeverChanges(t *testing.T) {
	var tr trie
	shown := map[int]trie{}
	wanted := map[int]map[string]Revision{}
	random := rand.New(rand.NewPCG(3, 4))
	for i := range 300 {
		tr = tr.changed()
		for range 10 {
			tr.put(Entry{Key: fmt.Sprint(random.IntN(500)), Revision: Revision(i)})
			tr.remove(fmt.Sprint(random.IntN(500)))
		}
		shown[i], wanted[i] = tr, entriesOf(t, &tr)
	}
	for i, old := range shown {
		if !maps.Equal(entriesOf(t, &old), wanted[i]) {
			t.Fatalf("state %d has changed", i)
		}
	}
}

// Keys with one hash are as good as impossible to find, so they are made.
func TestKeysWithOneHashAreKeptApart(t *testing.T) {
	tr := (&trie{}).changed()
	tr.root = &branch{owner: tr.owner}
	same := func(key string, r Revision) *leaf {
		return &leaf{Entry: Entry{Key: key, Revision: r}, hash: hashOf("a")}
	}
	for i, key := range []string{"a", "b", "c"} {
		var added bool
		tr.root, added = tr.root.put(tr.owner, same(key, Revision(i)), 0)
		if !added {
			t.Errorf("%s is not new", key)
		}
	}
	before := tr
	tr = tr.changed()
	if _, added := tr.root.put(tr.owner, same("b", 9), 0); added {
		t.Error("b is new, the second time")
	}
	tr.root = tr.root.remove(tr.owner, "a", hashOf("a"), 0)
	left := map[string]bool{}
	for e := range tr.all() {
		left[e.Key] = true
	}
	if !maps.Equal(left, map[string]bool{"b": true, "c": true}) {
		t.Errorf("left are %v", left)
	}
	if e := before.get("a"); e == nil || e.Revision != 0 {
		t.Errorf("a is %v in the state before", e)
	}
}
