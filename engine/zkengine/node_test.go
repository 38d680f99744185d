package zkengine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
)

const someID = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

func claimOf(kind engine.Kind, shares, limit int) *engine.Claim {
	return &engine.Claim{ID: someID, Name: "n", Kind: kind, Shares: shares, Limit: limit}
}

func TestEveryKindsNodesAreReadBack(t *testing.T) {
	for _, c := range []*engine.Claim{
		claimOf(engine.Mutex, 1, 1), claimOf(engine.Election, 1, 1), claimOf(engine.ReadWrite, 1, engine.Unlimited),
		claimOf(engine.ReadWrite, engine.Unlimited, engine.Unlimited), claimOf(engine.Semaphore, 2, 3), claimOf(engine.Group, 1, engine.Unlimited),
	} {
		for i, name := range nodesOf(c) {
			number := int32(7 + i)
			n, ok := parseNode(fmt.Sprintf("%s%010d", name, number))
			if !ok || n.id != c.ID || n.number != number || n.newer || n.shares != c.Shares || n.limit != c.Limit {
				t.Errorf("%v: %s is read as %+v, %v", c.Kind, name, n, ok)
			}
			if k := (claim{contender: n}).kind(); k != c.Kind {
				t.Errorf("%s is a %v, want %v", name, k, c.Kind)
			}
		}
	}
}

// TestTheProtectedNameIsAsLongAsOthers: Curator finds what follows by that length.
func TestTheProtectedNameIsAsLongAsOthers(t *testing.T) {
	if name := nodesOf(claimOf(engine.Mutex, 1, 1))[0]; len(name) != len("_c_3d5e0d4c-28a5-4bd6-b06f-2e5fd42ab9dd-lock-") {
		t.Errorf("%s has %d characters", name, len(name))
	}
}

func TestOthersNodesAreContenders(t *testing.T) {
	for name, want := range map[string]contender{
		"_c_3d5e0d4c-28a5-4bd6-b06f-2e5fd42ab9dd-lock-0000000003": {fam: exclusive, number: 3},
		"lock-0000000004":                                            {fam: exclusive, number: 4},
		"0123456789abcdef__lock__0000000005":                         {fam: exclusive | readWrite, number: 5},
		"0123456789abcdef__rlock__0000000006":                        {fam: readWrite, reads: true, number: 6},
		"_c_3d5e0d4c-28a5-4bd6-b06f-2e5fd42ab9dd-__READ__0000000007": {fam: readWrite, reads: true, number: 7},
		"_c_3d5e0d4c-28a5-4bd6-b06f-2e5fd42ab9dd-__WRIT__0000000008": {fam: readWrite, number: 8},
		"_c_3d5e0d4c-28a5-4bd6-b06f-2e5fd42ab9dd-lock--2147483648":   {fam: exclusive, number: -2147483648},
	} {
		got, ok := parseNode(name)
		if !ok || got.fam != want.fam || got.reads != want.reads || got.number != want.number || got.id != "" {
			t.Errorf("%s is read as %+v, %v", name, got, ok)
		}
	}
}

func TestStrayChildrenAreNoContenders(t *testing.T) {
	for _, name := range []string{"readme", "lock", "lock-", "lock-12", "x__lock__", "lock-00000000x3",
		"lock-99999999999", "_c_x", "_k_" + someID, "block-"} {
		if n, ok := parseNode(name); ok {
			t.Errorf("%s is read as %+v", name, n)
		}
	}
}

func TestANewerLayoutStandsInTheLineAndIsRefused(t *testing.T) {
	newer := strings.Replace(nodesOf(claimOf(engine.Mutex, 1, 1))[0], "lstep-1", "lstep-2", 1) + "0000000001"
	line := parseLine([]string{newer})
	if len(line) != 1 || !line[0].newer || holders(line) != 1 {
		t.Fatalf("%+v", line)
	}
	if err := mismatch(line, claimOf(engine.Mutex, 1, 1)); err == nil || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("a newer layout: %v", err)
	}
}

// TestTheOrderIsKeptWhereNumbersWrap: after 2147483647 comes -2147483648.
func TestTheOrderIsKeptWhereNumbersWrap(t *testing.T) {
	numbers := []int32{2147483645, 2147483646, 2147483647, -2147483648, -2147483647}
	var names []string
	for _, n := range numbers {
		names = append(names, fmt.Sprintf("lock-%010d", n))
	}
	for shift := range names { // whichever comes first in the list
		var got []int32
		for _, c := range parseLine(append(slices.Clone(names[shift:]), names[:shift]...)) {
			got = append(got, c.number)
		}
		if !slices.Equal(got, numbers) {
			t.Errorf("order %v, want %v", got, numbers)
		}
	}
	c := claimOf(engine.Mutex, 1, 1)
	pair := nodesOf(c)
	line := parseLine([]string{pair[1] + "-2147483648", pair[0] + "2147483647"})
	if len(line) != 1 || len(line[0].nodes) != 2 {
		t.Errorf("a pair around the wrap is %+v", line)
	}
	if second := secondOf("/n/"+pair[0]+"2147483647", c); second != "/n/"+pair[1]+"-2147483648" {
		t.Errorf("its second node is %s", second)
	}
}

func TestKeysBecomeChildrenAndComeBack(t *testing.T) {
	for _, key := range []string{
		"plain", "ä", "a/b", "%", "100%", ".", "..", ".lockstep", ".x", "😀", "lock-0000000001", "\u0085", "�", "a b", "%2F",
	} {
		child := escapeKey(key)
		if badElement(child) != "" || child == keep {
			t.Errorf("key %q becomes %q, which ZooKeeper does not take: %s", key, child, badElement(child))
		}
		if back, ok := unescapeKey(child); !ok || back != key {
			t.Errorf("key %q becomes %q and comes back as %q, %v", key, child, back, ok)
		}
	}
	for _, child := range []string{"100%", "%zz", "%2f", "%41"} {
		if key, ok := unescapeKey(child); ok {
			t.Errorf("child %q is taken for key %q", child, key)
		}
	}
}
