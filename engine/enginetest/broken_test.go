package enginetest

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// The suite is worth what it finds. Each engine here breaks one promise, in a
// way that somebody's engine could, and a rule of the suite must say so.

type brokenPromise struct {
	what       string
	area, rule string // the check that must find it
	wrap       func(e *brokenEngine)
}

var brokenEngines = []brokenPromise{
	{"grants two at once", "concurrency", "no two believe to hold at one time, and tokens rise",
		grantsTwo},
	{"grants two at once, seen in the line", "queue order", "a new claim waits behind those who wait",
		grantsTwo},
	{"uses a token again", "tokens", "each later grant has a greater token",
		granting(func(_ *engine.Claim, _ bool, g *engine.Grant) { g.Token = 7 })},
	{"confirms with an older token", "tokens", "a repeated Acquire has no smaller token than its grant",
		granting(func(_ *engine.Claim, again bool, g *engine.Grant) {
			if again {
				g.Token--
			}
		})},
	{"has its neighbour leave with a leaver", "queue order", "who leaves disturbs nobody else's place", removesNeighbour},
	{"releases whoever holds", "queue order", "Release touches nothing but its own claim", releasesAnyHolder},
	{"releases whoever holds, when repeated", "unknown outcome", "a Release repeated or late ends nothing else", releasesAnyHolder},
	{"loses the place of a repeat", "unknown outcome", "again, in line: goes on from its place", func(e *brokenEngine) {
		e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
			if again {
				s.Session.Release(ctx, c)
			}
			return s.Session.Acquire(ctx, c, false)
		}
	}},
	{"enters a repeat as another claim", "unknown outcome", "again, granted meanwhile: confirmed", entersRepeatAnew},
	{"ends sessions early", "session", "claims live for TTL from the last renewal and then go", func(e *brokenEngine) {
		e.begin = func(o *engine.SessionOptions) { o.TTL /= 2 }
	}},
	{"forgets to let go at End", "session", "End lets go of everything and lets the next in", func(e *brokenEngine) {
		e.session.end = func() error { return nil }
	}},
	{"renews what is gone", "session", "Renew lists what is gone and only that", func(e *brokenEngine) {
		e.session.renew = func(s *brokenSession, ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
			r, err := s.Session.Renew(ctx, claims)
			r.Lost = nil
			return r, err
		}
	}},
	{"brings claims back with Renew", "session", "Renew brings no claim back", func(e *brokenEngine) {
		e.session.renew = func(s *brokenSession, ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
			for _, c := range claims {
				c := *c
				c.Try = true
				s.Session.Acquire(ctx, &c, true)
			}
			return s.Session.Renew(ctx, claims)
		}
	}},
	{"brings a session back with Renew", "session end", "no call brings the session back", func(e *brokenEngine) {
		e.session.renew = func(s *brokenSession, ctx context.Context, claims []*engine.Claim) (engine.Renewal, error) {
			r, err := s.Session.Renew(ctx, claims)
			if errors.Is(err, engine.ErrSessionEnded) {
				s.Session, err = s.engine.Engine.Begin(ctx, engine.SessionOptions{TTL: s.ttl})
			}
			return r, err
		}
	}},
	{"lets a waiter of an ended session wait for its turn", "session end", "a waiter learns it at once, not when its turn comes",
		func(e *brokenEngine) {
			e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
				g, err := s.Session.Acquire(ctx, c, again)
				if errors.Is(err, engine.ErrSessionEnded) {
					<-ctx.Done()
					return g, ctx.Err()
				}
				return g, err
			}
		}},
	{"counts every claim as one share", "shares and limits", "any sequence grants what the model grants",
		claiming(func(c *engine.Claim) { c.Shares = 1 })},
	{"lets readers in beside a writer", "read-write", "a writer excludes readers and writers",
		claiming(func(c *engine.Claim) { c.Shares = 1 })},
	{"waits although it was only to try", "try", "Try of what is held says who holds and leaves nothing",
		claiming(func(c *engine.Claim) { c.Try = false })},
	{"says that it is held, and not by whom", "try", "Try of what is held says who holds and leaves nothing", func(e *brokenEngine) {
		e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
			g, err := s.Session.Acquire(ctx, c, again)
			if errors.Is(err, engine.ErrHeld) {
				err = engine.ErrHeld
			}
			return g, err
		}
	}},
	{"does not look at the kind", "kinds", "one name, one kind", claiming(func(c *engine.Claim) {
		if c.Limit == 1 {
			c.Kind = engine.Mutex
		}
	})},
	{"withdraws on its own what its caller gave up", "cancel", "an abandoned claim keeps its place until it is withdrawn", func(e *brokenEngine) {
		e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
			g, err := s.Session.Acquire(ctx, c, again)
			if ctx.Err() != nil {
				s.Session.Release(context.WithoutCancel(ctx), c)
			}
			return g, err
		}
	}},
	{"does not hear the end of a context", "cancel", "a waiter obeys its context at once", func(e *brokenEngine) {
		e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
			g, err := s.Session.Acquire(ctx, c, again)
			if ctx.Err() != nil {
				return s.Session.Acquire(context.WithoutCancel(ctx), c, true)
			}
			return g, err
		}
	}},
	{"binds a term to its session", "fixed term", "a granted term outlives its session's End", func(e *brokenEngine) {
		e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
			bound := *c
			bound.Term = 0
			g, err := s.Session.Acquire(ctx, &bound, again)
			g.Until = time.Now().Add(c.Term)
			return g, err
		}
	}},
	{"lets its caller believe in a term for too long", "fixed term", "a term ends by itself and never before Until",
		granting(func(c *engine.Claim, _ bool, g *engine.Grant) {
			if c.Term > 0 {
				g.Until = g.Until.Add(time.Second)
			}
		})},
	{"passes to the first in line", "pass", "Pass grants the named waiter next, and others keep their order", func(e *brokenEngine) {
		e.session.pass = func(s *brokenSession, ctx context.Context, c *engine.Claim) error {
			_, err := s.Session.Release(ctx, c)
			return err
		}
	}},
	{"forgets notes", "notes", "SetNote replaces the note", func(e *brokenEngine) {
		e.session.setNote = func() error { return nil }
	}},
	{"keeps the caller's own bytes", "notes", "a note is copied", sharesNotes},
	{"shows a line once", "line", "WatchLine shows the newest line after any changes", func(e *brokenEngine) {
		e.watchLine = func(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
			return func(yield func(engine.Line, error) bool) {
				l, err := e.Engine.Line(ctx, name)
				if yield(l, err) {
					<-ctx.Done()
					yield(engine.Line{}, ctx.Err())
				}
			}
		}
	}},
	{"merges terms that it promised to show", "line", "WatchLine shows every term", func(e *brokenEngine) {
		e.watchLine = func(ctx context.Context, name string) iter.Seq2[engine.Line, error] {
			return func(yield func(engine.Line, error) bool) {
				for _, err := range e.Engine.WatchLine(ctx, name) {
					l, lineErr := e.Engine.Line(ctx, name)
					if !yield(l, errors.Join(err, lineErr)) {
						return
					}
				}
			}
		}
	}},
	{"removes nothing", "line", "Remove ends a claim and lets the next in", func(e *brokenEngine) {
		e.remove = func() error { return nil }
	}},
	{"does not look at the prefix", "names", "Names yields each name in use once", func(e *brokenEngine) {
		e.names = func(ctx context.Context, _ string) iter.Seq2[string, error] { return e.Engine.Names(ctx, "") }
	}},
	{"takes the prefix for a pattern", "names", "Names takes its prefix literally", func(e *brokenEngine) {
		e.names = func(ctx context.Context, prefix string) iter.Seq2[string, error] {
			literal, _, _ := strings.Cut(prefix, "%")
			return e.Engine.Names(ctx, literal)
		}
	}},
	{"commits a repeat again", "commit", "a commit repeated by its ID is done once and answered as then",
		func(e *brokenEngine) { e.store.commit = func(tx *engine.Tx) { tx.ID, tx.If = "", nil } }},
	{"commits a repeat at the same time again", "commit", "a commit repeated at the same time is done once",
		commitsAgain},
	{"does not look at conditions", "conditions", "a condition holds at exactly its revision",
		func(e *brokenEngine) { e.store.commit = func(tx *engine.Tx) { tx.If = nil } }},
	{"looks at one condition only", "conditions", "one condition that fails stops the whole commit",
		func(e *brokenEngine) { e.store.commit = func(tx *engine.Tx) { tx.If = tx.If[:min(1, len(tx.If))] } }},
	{"loses a delete", "watch", "the last state of every key arrives, deletes too", losesDeletes},
	{"loses a delete, commit by commit", "watch", "a watch shows each commit once and in order, deletes too", losesDeletes},
	{"is silent while nothing changes", "watch", "a quiet watch says that it is still current", func(e *brokenEngine) {
		e.store.watch = func(ev *engine.Event) int {
			if !ev.Full && len(ev.Entries) == 0 {
				return 0
			}
			return 1
		}
	}},
	{"shows a commit twice", "watch", "a watch shows each commit once and in order, deletes too",
		func(e *brokenEngine) { e.store.watch = func(*engine.Event) int { return 2 } }},
	{"does not say that there was a gap", "gap", "a deletion inside a gap is seen by what is missing",
		func(e *brokenEngine) { e.store.watch = func(ev *engine.Event) int { ev.Full = false; return 1 } }},
	{"cuts long values off", "limits", "a value of MaxValue is taken and a longer one refused", func(e *brokenEngine) {
		e.store.commit = func(tx *engine.Tx) {
			tx.Put = slices.Clone(tx.Put)
			for i, entry := range tx.Put {
				tx.Put[i].Value = bytes.Clone(entry.Value[:min(1000, len(entry.Value))])
			}
		}
	}},
	{"goes on after Close", "close", "every call after Close says ErrClosed",
		func(e *brokenEngine) { e.close = func() error { return nil } }},
	{"enters a repeat as another claim", "bad network", "whatever happens to an Acquire, it is one claim in one place", entersRepeatAnew},
	{"releases whoever holds", "bad network", "whatever happens to a Release, it ends its own claim and lets the next in", releasesAnyHolder},
	{"has its neighbour leave with a leaver", "bad network", "whatever happens to a leaver's Release, others keep their places", removesNeighbour},
	{"commits a repeat again", "bad network", "whatever happens to commits, a counter is exact", commitsAgain},
	{"grants two at once", "bad network", "with faults at random no two believe to hold at one time", grantsTwo},
	{"enters a repeat as another claim", "through the core", "whatever happens to an Acquire, Lock holds once and Release frees", entersRepeatAnew},
	{"releases whoever holds", "through the core", "whatever happens to a Release, the next is let in and keeps it", releasesAnyHolder},
	{"has its neighbour leave with a leaver", "through the core", "a caller that gives up leaves nothing behind", removesNeighbour},
	{"commits a repeat again", "through the core", "a counter is exact", commitsAgain},
	{"loses a delete", "through the core", "a watch that breaks shows the last state of every key, in order", losesDeletes},
	{"grants two at once", "through the core", "with faults at random no two believe to hold at one time", grantsTwo},
	{"polls while it waits", "idle", "waiters cost nothing while nothing changes", func(e *brokenEngine) {
		e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
			for {
				poll, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
				g, err := s.Session.Acquire(poll, c, again)
				cancel()
				if err == nil || ctx.Err() != nil || engine.Definite(err) {
					return g, err
				}
				again = true
			}
		}
	}},
}

func grantsTwo(e *brokenEngine) { claiming(func(c *engine.Claim) { c.Limit = 2 })(e) }

func entersRepeatAnew(e *brokenEngine) {
	e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
		if again {
			c = mutex(c.Name)
		}
		return s.Session.Acquire(ctx, c, false)
	}
}

func commitsAgain(e *brokenEngine) {
	e.store.commit = func(tx *engine.Tx) { tx.ID = "" }
}

func removesNeighbour(e *brokenEngine) {
	e.session.release = func(s *brokenSession, ctx context.Context, c *engine.Claim) (bool, error) {
		l, err := s.engine.Engine.Line(ctx, c.Name)
		if err != nil {
			return false, err
		}
		if i := slices.Index(ids(l.Waiters), c.ID); i >= 0 && i+1 < len(l.Waiters) {
			s.engine.Engine.Remove(ctx, c.Name, l.Waiters[i+1].ID)
		}
		return s.Session.Release(ctx, c)
	}
}

func releasesAnyHolder(e *brokenEngine) {
	e.session.release = func(s *brokenSession, ctx context.Context, c *engine.Claim) (bool, error) {
		removed, err := s.Session.Release(ctx, c)
		if removed || err != nil {
			return removed, err
		}
		l, err := s.engine.Engine.Line(ctx, c.Name)
		if err != nil || len(l.Holders) == 0 {
			return false, err
		}
		return false, s.engine.Engine.Remove(ctx, c.Name, l.Holders[0].ID)
	}
}

// sharesNotes shows what the note's bytes are now, not what they were.
func sharesNotes(e *brokenEngine) {
	e.session.acquire = func(s *brokenSession, ctx context.Context, c *engine.Claim, again bool) (engine.Grant, error) {
		g, err := s.Session.Acquire(ctx, c, again)
		if err == nil {
			c.Note[0] = 'X'
			s.Session.SetNote(ctx, c, c.Note)
		}
		return g, err
	}
}

func losesDeletes(e *brokenEngine) {
	e.store.watch = func(ev *engine.Event) int {
		if slices.ContainsFunc(ev.Entries, func(e engine.Entry) bool { return e.Deleted }) {
			return 0
		}
		return 1
	}
}

func TestEachBrokenEngineIsFound(t *testing.T) {
	for _, b := range brokenEngines {
		t.Run(b.area+"/"+b.what, func(t *testing.T) {
			t.Parallel()
			faults := record(t, b.area, b.rule, b.wrap)
			if len(faults) == 0 {
				t.Errorf("%s/%s found nothing wrong with an engine that %s", b.area, b.rule, b.what)
				return
			}
			t.Logf("found: %s", faults[0])
		})
	}
}

func TestARuleThatFindsABrokenEnginePassesTheReference(t *testing.T) {
	for _, b := range brokenEngines {
		t.Run(b.area+"/"+b.rule, func(t *testing.T) {
			t.Parallel()
			for _, fault := range record(t, b.area, b.rule, func(*brokenEngine) {}) {
				t.Errorf("found in an engine that is not broken: %s", fault)
			}
		})
	}
}

func TestEveryAreaFindsABrokenEngine(t *testing.T) {
	for _, a := range areas {
		if !slices.ContainsFunc(brokenEngines, func(b brokenPromise) bool { return b.area == a.name }) {
			t.Errorf("no broken engine shows that area %q finds anything", a.name)
		}
	}
}

func TestOverlapsFindsWhatNoHistoryMayHave(t *testing.T) {
	at := func(ms int) time.Time { return time.Unix(0, int64(ms)*int64(time.Millisecond)) }
	sound := []belief{{token: 5, start: at(20), end: at(30)}, {token: 1, start: at(0), end: at(10)}, {token: 9, start: at(30), end: at(40)}}
	if faults := overlaps(sound); len(faults) > 0 {
		t.Errorf("in a sound history: %v", faults)
	}
	for what, extra := range map[string]belief{
		"two at once":                 {token: 6, start: at(29), end: at(29)},
		"a token twice":               {token: 5, start: at(31), end: at(31)},
		"a smaller token for a later": {token: 4, start: at(35), end: at(36)},
	} {
		if faults := overlaps(append(slices.Clone(sound), extra)); len(faults) == 0 {
			t.Errorf("%s: found nothing", what)
		}
	}
}
