package redisengine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// A list is the map at one revision. A small map is read at once. Of a large one
// its revision is noted, its entries are read page by page while commits go on,
// and then the log since: of an entry that was seen twice, the greater revision
// is the newer one.

// What is small, for a script that stops everybody else; what is a page; and how
// often a list begins again when the log did not reach back to its beginning, as
// its commits were too many. Then it is read at once, whatever its size.
const (
	smallEntries = "1024"
	smallBytes   = "1048576"
	anySize      = "1e15"
	pageBytes    = 1 << 20
	pageEntries  = 1024
	firstPage    = 32
	logPage      = 128
	listTries    = 3
)

// position is where a map is, as one look or the commits since tell.
type position struct {
	revision engine.Revision
	known    bool  // a commit has led there; false: nobody remembers any
	damage   int64 // lua/map_record.lua
}

// leadsOn says whether a commit is the next one after this position.
func (p position) leadsOn(c commit) bool {
	if c.Revision <= p.revision || p.damage != 0 {
		return false
	}
	if p.known {
		return c.previous == p.revision
	}
	return c.previous == 0 // the first of a map that was empty
}

func (p position) after(c commit) position { return position{revision: c.Revision, known: true} }

// List is a whole map at one revision.
func (s *store) List(ctx context.Context, m string) (engine.Event, error) {
	ev, _, err := s.whole(ctx, m)
	return ev, err
}

// whole is a whole map, and where that is.
func (s *store) whole(ctx context.Context, m string) (engine.Event, position, error) {
	for try := 1; ; try++ {
		small, bytes := smallEntries, smallBytes
		if try > listTries {
			small, bytes = anySize, anySize
		}
		l, done, err := s.read(ctx, m, small, bytes)
		if err != nil {
			return engine.Event{}, position{}, err
		}
		if !done {
			done, err = s.readPages(ctx, m, l)
		}
		switch {
		case err != nil:
			return engine.Event{}, position{}, err
		case done:
			return l.event(), l.at, nil
		}
	}
}

// listing is a list that is being made.
type listing struct {
	at      position
	entries map[string]engine.Entry
}

// read begins a list; it is done where the map is small.
func (s *store) read(ctx context.Context, m, small, bytes string) (l *listing, done bool, err error) {
	answer, err := s.run(ctx, call{s.list, mapKeys(m), []string{small, bytes}})
	if err != nil {
		return nil, false, err
	}
	l = &listing{entries: make(map[string]engine.Entry)}
	if l.at, err = parsePosition(answer); err != nil || answer.len() < 4 {
		return l, false, err
	}
	_, err = l.add(answer.sub(3))
	return l, true, err
}

func parsePosition(answer reply) (p position, err error) {
	p.revision, err = parseRevision(answer.text(0))
	p.known, p.damage = answer.int(1) == 1, answer.int(2)
	return p, err
}

// readPages scans the entries and then replays the log. It is not ok where the
// log does not lead on from where the list began.
func (s *store) readPages(ctx context.Context, m string, l *listing) (ok bool, err error) {
	count, cursor := firstPage, "0"
	for {
		page, err := s.do(ctx, "HSCAN", mapKeys(m)[0], cursor, "COUNT", strconv.Itoa(count))
		if err != nil {
			return false, err
		}
		bytes, err := l.add(page.sub(1))
		if err != nil {
			return false, err
		}
		if cursor = page.text(0); cursor == "0" {
			break
		}
		if cursor == "" {
			return false, fmt.Errorf("HSCAN was answered %v", page.v)
		}
		count = nextPage(count, page.sub(1).len()/2, bytes)
	}
	at, ok, err := s.since(ctx, m, l.at, func(c commit) error {
		l.replay(c)
		return nil
	})
	l.at = at
	return ok, err
}

// nextPage has pages grow, or shrink, to about pageBytes.
func nextPage(count, entries, bytes int) int {
	if entries == 0 {
		return count
	}
	each := max(bytes/entries, 1)
	return min(max(pageBytes/each, 1), count*8, pageEntries)
}

// add takes keys and entries in turn. Those that it has are as new as what it is
// given, or older.
func (l *listing) add(pairs reply) (bytes int, err error) {
	for i := 0; i+1 < pairs.len(); i += 2 {
		key, text := pairs.text(i), pairs.text(i+1)
		e, err := parseEntry(key, text)
		if err != nil {
			return 0, err
		}
		l.put(e)
		bytes += len(key) + len(text)
	}
	return bytes, nil
}

func (l *listing) put(e engine.Entry) {
	if is, ok := l.entries[e.Key]; !ok || is.Revision < e.Revision {
		l.entries[e.Key] = e
	}
}

// replay applies a commit that the scan may have seen, in part or not at all.
func (l *listing) replay(c commit) {
	for _, e := range c.Entries {
		switch is := l.entries[e.Key]; {
		case !e.Deleted:
			l.put(e)
		case is.Revision < e.Revision:
			delete(l.entries, e.Key)
		}
	}
}

func (l *listing) event() engine.Event {
	ev := engine.Event{Revision: l.at.revision, Full: true, Entries: make([]engine.Entry, 0, len(l.entries))}
	for _, e := range l.entries {
		ev.Entries = append(ev.Entries, e)
	}
	slices.SortFunc(ev.Entries, func(a, b engine.Entry) int { return strings.Compare(a.Key, b.Key) })
	return ev
}

// since hands on, in order, what was committed after a position, at least until
// where the map is now. It is not ok where the log does not lead there: what was
// handed on is true, and something is missing after it. An error of each ends it.
func (s *store) since(ctx context.Context, m string, from position, each func(commit) error) (at position, ok bool, err error) {
	answer, err := s.run(ctx, call{s.look, mapKeys(m), nil})
	if err != nil {
		return from, false, err
	}
	is, err := parsePosition(answer)
	switch {
	case err != nil || is.damage != from.damage:
		return from, false, err
	case !is.known || !from.known: // a map's first commit is not in the log
		return from, is.known == from.known, nil
	case is.revision <= from.revision:
		return from, is.revision == from.revision, nil
	}
	for at := from; ; {
		page, err := s.logPage(ctx, m, at.revision)
		if err != nil {
			return at, false, err
		}
		for _, c := range page {
			if !at.leadsOn(c) {
				return at, false, nil
			}
			at = at.after(c)
			if err := each(c); err != nil {
				return at, false, err
			}
		}
		if len(page) < logPage {
			return at, at.revision >= is.revision, nil
		}
	}
}

// logPage is the next commits of the log. All of it is no more than 8 MiB.
func (s *store) logPage(ctx context.Context, m string, after engine.Revision) ([]commit, error) {
	start := formatRevision(after) + "-1"
	logged, err := s.do(ctx, "XRANGE", mapKeys(m)[1], start, "+", "COUNT", strconv.Itoa(logPage))
	if err != nil {
		return nil, err
	}
	page := make([]commit, 0, logged.len())
	for i := range logged.len() {
		c, err := parseLogged(logged.sub(i))
		if err != nil {
			return nil, err
		}
		page = append(page, c)
	}
	return page, nil
}
