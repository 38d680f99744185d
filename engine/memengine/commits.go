package memengine

import (
	"maps"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// What was committed under which id is remembered for an hour, so that a commit
// whose reply was lost can be repeated (S4). A map that is empty and unused for
// as long is forgotten with its log.
const (
	retention  = time.Hour
	maxCommits = 1 << 18 // some 50 MB; Info.Weaker says so
)

type commitID struct{ name, id string }

// commits is what was answered to which commit. One without an id is not
// repeatable and not remembered.
type commits struct {
	answers map[commitID]engine.Revision
	oldest  []committed // in order
}

type committed struct {
	commitID
	at time.Time
}

func (c *commits) remember(id commitID, r engine.Revision, now time.Time) {
	if id.id == "" {
		return
	}
	if c.answers == nil {
		c.answers = make(map[commitID]engine.Revision)
	}
	c.answers[id] = r
	c.oldest = append(c.oldest, committed{id, now})
}

func (c *commits) sweep(now time.Time) {
	for len(c.oldest) > 0 && (len(c.oldest) > maxCommits || now.Sub(c.oldest[0].at) > retention) {
		delete(c.answers, c.oldest[0].commitID)
		c.oldest = c.oldest[1:]
	}
}

// sweep forgets what is old. It costs a commit next to nothing: maps are looked
// at once in a retention.
func (s *Service) sweep(now time.Time) {
	s.commits.sweep(now)
	if now.Sub(s.swept) < retention {
		return
	}
	s.swept = now
	maps.DeleteFunc(s.maps, func(_ string, m *namedMap) bool {
		return len(m.entries) == 0 && m.watchers == 0 && now.Sub(m.changed) >= retention
	})
}
