package lockstep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Records of onces, ballots, barriers and ticks have a retention (S12). No engine
// ends an entry by itself, so a list of all such records is kept in a map of
// Lockstep's own, and a client that makes a record looks through it, once an
// hour at most, and deletes what is over.
//
// When a record is over is told by the wall clock of whoever looks, from what the
// last writer's clock said: the one place where two machines' clocks meet, and
// never for anything that excludes (docs/decisions/0013). So that they may differ,
// an eighth of the retention is added to it.
const (
	// DefaultKeep is how long the record of a [Once], [Ballot], [Barrier] or [Ticks]
	// stays after its last change, where nothing else is said.
	DefaultKeep = 24 * time.Hour
	// MinKeep is the shortest that may be said; the longest is [MaxTerm].
	MinKeep = time.Second

	keptMap    = ".kept"
	sweepEvery = time.Hour
)

func endOf(keep time.Duration) time.Time { return time.Now().Add(keep + keep/8) }

func checkKeep(d time.Duration) error {
	if d < MinKeep || d > MaxTerm {
		return invalidf("a retention of %v; it may be %v to %v", d, MinKeep, MaxTerm)
	}
	return nil
}

// kept is an entry of the list: its key is the record's map.
type kept struct {
	Layout int    `json:"layout"`
	Ends   int64  `json:"ends"` // in Unix milliseconds; the record may say later
	Line   string `json:"line,omitempty"`
}

// register puts a record into the list before it is made: what is in the list and
// is not there costs a look, what is there and not in the list would stay for ever.
func (r record[T]) register(ctx context.Context, ends time.Time) error {
	list, err := r.m.c.keptList()
	if err != nil {
		return err
	}
	value, err := json.Marshal(kept{Layout: recordLayout, Ends: ends.UnixMilli(), Line: r.line})
	if err != nil {
		return err
	}
	if _, err := list.commit(ctx, Tx{Put: []Entry{{Key: r.m.full, Value: value}}}); err != nil {
		return err
	}
	r.m.c.sweepIfDue(ctx, list)
	return nil
}

func (c *Client) keptList() (*Map, error) {
	full, err := c.eng.CheckName(keptMap)
	return &Map{c: c, name: keptMap, full: full}, err
}

// sweepIfDue costs whoever makes a record a look at the list once an hour. It may
// fail: somebody looks again.
func (c *Client) sweepIfDue(ctx context.Context, list *Map) {
	now := time.Now()
	c.mu.Lock()
	due := now.Sub(c.swept) >= sweepEvery
	if due {
		c.swept = now
	}
	c.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.opts.ttl)
	defer cancel()
	if err := c.sweep(ctx, list, now); err != nil {
		c.opts.log.Debug("lockstep: old records stay until somebody looks again", "error", err)
	}
}

func (c *Client) sweep(ctx context.Context, list *Map, now time.Time) error {
	all, err := list.list(ctx)
	if err != nil {
		return err
	}
	for _, e := range all.Entries {
		var k kept
		if json.Unmarshal(e.Value, &k) != nil || k.Layout > recordLayout || now.UnixMilli() < k.Ends {
			continue
		}
		if err := c.sweepOne(ctx, list, e, k, now); err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// sweepOne deletes one record that is over, or puts it down for later. Whatever
// changes meanwhile is a conflict, and stays.
func (c *Client) sweepOne(ctx context.Context, list *Map, listed Entry, k kept, now time.Time) error {
	m := &Map{c: c, name: listed.Key, full: listed.Key}
	e, err := m.get(ctx, "")
	switch {
	case errors.Is(err, ErrNotFound):
		return list.deleteIf(ctx, listed)
	case err != nil:
		return err
	}
	s, err := parseRecord[json.RawMessage](m.name, e.Value, e.Revision)
	if err != nil {
		return nil //nolint:nilerr // it is newer than this process: its own will look after it
	}
	if k.Ends = s.ends.UnixMilli(); now.Before(s.ends) {
		return list.replaceIf(ctx, listed, k)
	}
	if busy, err := c.inLine(ctx, k.Line); busy || err != nil {
		return err
	}
	if err := m.deleteIf(ctx, e); err != nil {
		return err
	}
	return list.deleteIf(ctx, listed)
}

// inLine says whether anybody is in a line.
func (c *Client) inLine(ctx context.Context, name string) (bool, error) {
	if name == "" {
		return false, nil
	}
	line, err := c.lineOf(ctx, name)
	return len(line.Holders)+len(line.Waiters) > 0, err
}

func (m *Map) deleteIf(ctx context.Context, e engine.Entry) error {
	_, err := m.commit(ctx, Tx{If: []Cond{{Key: e.Key, Revision: e.Revision}}, Put: []Entry{{Key: e.Key, Deleted: true}}})
	return err
}

func (m *Map) replaceIf(ctx context.Context, e engine.Entry, k kept) error {
	value, err := json.Marshal(k)
	if err != nil {
		return fmt.Errorf("the list of records: %w", err)
	}
	_, err = m.commit(ctx, Tx{If: []Cond{{Key: e.Key, Revision: e.Revision}}, Put: []Entry{{Key: e.Key, Value: value}}})
	return err
}
