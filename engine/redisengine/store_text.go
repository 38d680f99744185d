package redisengine

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// What scripts write for us to read: entries, commits in the log and messages
// (lua/map_record.lua, lua/map_commit.lua). Revisions are decimal; keys and values
// are as they are, with their lengths in front.

// What a change does.
const (
	writes  = "="
	deletes = "-"
)

func formatRevision(r engine.Revision) string { return strconv.FormatUint(uint64(r), 10) }

func parseRevision(text string) (engine.Revision, error) {
	r, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		return 0, malformed("revision", text)
	}
	return engine.Revision(r), nil
}

// parseEntry reads "revision value".
func parseEntry(key, text string) (engine.Entry, error) {
	number, value, found := strings.Cut(text, " ")
	r, err := parseRevision(number)
	if err != nil || !found {
		return engine.Entry{}, malformed("entry", text)
	}
	return engine.Entry{Key: key, Value: []byte(value), Revision: r}, nil
}

// commit is one commit as the log and messages show it.
type commit struct {
	previous engine.Revision // the commit before it; 0: none that it leads on from
	engine.Event
	told bool // its entries are known; a message may have been too long for them
}

// parseLogged reads a commit in the log.
func parseLogged(logged reply) (commit, error) {
	id, fields := logged.text(0), logged.sub(1)
	if fields.len() < 4 || fields.text(0) != "p" {
		return commit{}, malformed("log", id)
	}
	revision, _, _ := strings.Cut(id, "-")
	c, err := newCommit(fields.text(1), revision)
	switch {
	case err != nil:
		return commit{}, err
	case fields.text(2) == "c":
		c.Entries, err = parseChanges(fields.text(3), c.Revision)
		return c, err
	}
	for i := 2; i+1 < fields.len(); i += 2 {
		e, err := newChange(fields.text(i), fields.text(i+1), c.Revision)
		if err != nil {
			return commit{}, err
		}
		c.Entries = append(c.Entries, e)
	}
	return c, nil
}

// parseMessage reads "v1 previous revision changes".
func parseMessage(text string) (c commit, err error) {
	parts := strings.SplitN(text, " ", 4)
	if len(parts) < 3 || parts[0] != "v1" {
		return commit{}, malformed("message", text)
	}
	c, err = newCommit(parts[1], parts[2])
	if c.told = len(parts) == 4; c.told && err == nil {
		c.Entries, err = parseChanges(parts[3], c.Revision)
	}
	return c, err
}

func newCommit(previous, revision string) (c commit, err error) {
	c.told = true
	if c.previous, err = parseRevision(previous); err != nil {
		return commit{}, err
	}
	c.Revision, err = parseRevision(revision)
	return c, err
}

// newChange is a field of the log and its value: "=limit" and "100", or "-limit".
func newChange(field, value string, r engine.Revision) (engine.Entry, error) {
	switch {
	case strings.HasPrefix(field, writes):
		return engine.Entry{Key: field[len(writes):], Value: []byte(value), Revision: r}, nil
	case strings.HasPrefix(field, deletes):
		return engine.Entry{Key: field[len(deletes):], Revision: r, Deleted: true}, nil
	}
	return engine.Entry{}, malformed("change", field)
}

// parseChanges reads "=5 3 limit100-3 0 old": key 'limit' has the value '100',
// key 'old' is deleted.
func parseChanges(text string, r engine.Revision) ([]engine.Entry, error) {
	var entries []engine.Entry
	for rest := text; rest != ""; {
		key, after, ok1 := cutLength(rest[1:])
		value, body, ok2 := cutLength(after)
		if !ok1 || !ok2 || key > len(body) || value > len(body)-key {
			return nil, malformed("change", rest)
		}
		e, err := newChange(rest[:1]+body[:key], body[key:key+value], r)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
		rest = body[key+value:]
	}
	return entries, nil
}

func cutLength(text string) (n int, rest string, ok bool) {
	number, rest, found := strings.Cut(text, " ")
	u, err := strconv.ParseUint(number, 10, 31)
	return int(u), rest, found && err == nil
}

// malformed is what no version of this engine has written.
func malformed(what, text string) error {
	return fmt.Errorf("%w: a map's %s reads %.40q: another program wrote it, or a newer Lockstep", engine.ErrUnusable, what, text)
}
