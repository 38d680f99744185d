package lockstep

import (
	"fmt"
	"strings"
	"testing"
)

// What a watcher is told after its pending batches were merged is the difference
// between what it saw last and what is now: no less, and no more.
func TestMergedBatchesAreTheirDifference(t *testing.T) {
	put := func(r Revision, key string, existed bool) delta { return delta{Entry{Key: key, Revision: r}, existed} }
	del := func(r Revision, key string) delta { return delta{Entry{Key: key, Revision: r, Deleted: true}, true} }
	one := func(r Revision, d ...delta) *batch { return &batch{kind: commit, revision: r, deltas: d} }

	for name, tt := range map[string]struct {
		batches []*batch
		want    string
	}{
		"the last state of each key, in order of revisions": {
			[]*batch{one(1, put(1, "b", true)), one(2, put(2, "a", true)), one(3, put(3, "b", true))},
			"resync@3 a@2 b@3",
		},
		"a deletion of what was there":      {[]*batch{one(1, put(1, "a", true)), one(2, del(2, "a"))}, "resync@2 -a@2"},
		"what came and went is not told":    {[]*batch{one(1, put(1, "a", false)), one(2, del(2, "a"))}, "resync@2"},
		"what went and came is a new state": {[]*batch{one(1, del(1, "a")), one(2, put(2, "a", false))}, "resync@2 a@2"},
		"what went, came and went is gone": {
			[]*batch{one(1, del(1, "a")), one(2, put(2, "a", false)), one(3, del(3, "a"))},
			"resync@3 -a@3",
		},
		"what came, went and came is there": {
			[]*batch{one(1, put(1, "a", false)), one(2, del(2, "a")), one(3, put(3, "a", false))},
			"resync@3 a@3",
		},
		"a snapshot that was not seen stays one": {
			[]*batch{
				{kind: snapshot, revision: 5, deltas: []delta{put(5, "a", false), put(3, "b", false)}},
				one(6, put(6, "a", true)), one(7, del(7, "b")), one(8, put(8, "0", false)),
			},
			"snapshot@8 0@8 a@6",
		},
		"the last in the list counts, also where revisions fell": {
			[]*batch{one(9, put(9, "a", true)), {kind: resync, revision: 2, deltas: []delta{put(2, "a", true)}}},
			"resync@2 a@2",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newList()
			from := l.last
			for _, b := range tt.batches {
				l.publish(b)
			}
			if got := showBatch(l.merge(from)); got != tt.want {
				t.Errorf("%s; want %s", got, tt.want)
			}
		})
	}
}

func showBatch(b *batch) string {
	s := []string{fmt.Sprintf("%s@%d", [...]string{"commit", "snapshot", "resync"}[b.kind], b.revision)}
	for _, d := range b.deltas {
		mark := ""
		if d.Deleted {
			mark = "-"
		}
		s = append(s, fmt.Sprintf("%s%s@%d", mark, d.Key, d.Revision))
	}
	return strings.Join(s, " ")
}
