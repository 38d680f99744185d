package redisengine

import (
	"fmt"
	"strings"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
)

// frame writes as lua/map_commit.lua does.
func frame(entries []engine.Entry) string {
	var b strings.Builder
	for _, e := range entries {
		what := writes
		if e.Deleted {
			what = deletes
		}
		fmt.Fprintf(&b, "%s%d %d %s%s", what, len(e.Key), len(e.Value), e.Key, e.Value)
	}
	return b.String()
}

// FuzzMapMessage: what anybody publishes on a map's channel is read as what it
// is, or refused.
func FuzzMapMessage(f *testing.F) {
	for _, seed := range []string{"v1 0 5 =5 3 limit100-3 0 old", "v1 4 5", "v1 4 5 ", "v1 4 5 =0 0 ", "v1 4 5 =0 9999999999 x", "v1 4 5 =", "v2 x"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		c, err := parseMessage(text)
		if err != nil || !c.told {
			return
		}
		for _, e := range c.Entries {
			if e.Revision != c.Revision {
				t.Errorf("an entry of revision %d in commit %d", e.Revision, c.Revision)
			}
		}
		again, err := parseChanges(frame(c.Entries), c.Revision)
		if err != nil || fmt.Sprint(again) != fmt.Sprint(c.Entries) {
			t.Errorf("%q is read as %v and written as %v, %v", text, c.Entries, again, err)
		}
	})
}

func TestChangesOfAnyBytesAreRead(t *testing.T) {
	entries := []engine.Entry{
		{Key: "", Value: []byte{}, Revision: 7},
		{Key: "=5 3 ", Value: []byte("-1 0 x\x00\xff"), Revision: 7},
		{Key: "-", Revision: 7, Deleted: true},
		{Key: "ä b", Value: []byte(strings.Repeat(" ", 1000)), Revision: 7},
	}
	got, err := parseChanges(frame(entries), 7)
	if err != nil || fmt.Sprint(got) != fmt.Sprint(entries) {
		t.Errorf("read %v, %v", got, err)
	}
	for _, bad := range []string{"=", "=1", "=1 1", "=1 1 x", "=2 0 x", "?0 0 ", "=-1 0 ", "=1 0 xy", "=99999999999999999999 0 x"} {
		if got, err := parseChanges(bad, 7); err == nil {
			t.Errorf("%q is read as %v", bad, got)
		}
	}
}
