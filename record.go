package lockstep

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// A record is what a counter, latch, once, ballot, barrier or line of ticks keeps
// at the engine: one entry that Lockstep alone reads, under a name of Lockstep's
// own. All of its state is in the one entry, so every step of it is one commit
// that depends on the step before: nobody sees half of one, two cannot be made at
// once, and one whose reply was lost is not made twice (S4, map_commit.go).
//
// It says in which layout it is written (S13). A layout that older processes could
// misread, or would spoil by writing what they know back, has a greater number;
// they refuse it.
const recordLayout = 1

type record[T any] struct {
	m    Map           // its entry with the empty key
	keep time.Duration // how long it stays after the last change; 0: until it is deleted
	line string        // of claims: while somebody is in it the record stays; may be empty
}

// written is a record as the engine has it.
type written[T any] struct {
	Layout int   `json:"layout"`
	Ends   int64 `json:"ends,omitempty"` // in Unix milliseconds; retention.go
	State  T     `json:"state"`
}

// seen is a record as it was read; the zero value where there is none.
type seen[T any] struct {
	state    T
	ends     time.Time // zero: never, or there is none
	revision Revision
}

// over says whether its retention is.
func (s seen[T]) over() bool { return !s.ends.IsZero() && !time.Now().Before(s.ends) }

// own is a name of Lockstep's own for something that a user has named.
func (c *Client) own(kind, name string) (string, error) {
	full, err := c.canonical(name)
	if err != nil {
		return "", err
	}
	own := "." + kind + "." + full
	if len(own) > MaxName {
		return "", invalidf("name %.40q… has %d bytes; that of a %s may have %d", name, len(full), kind, MaxName-len(own)+len(full))
	}
	return c.eng.CheckName(own)
}

// isOwn says whether a name at the engine is Lockstep's own.
func isOwn(full string) bool { return strings.HasPrefix(full, ".") }

func newRecord[T any](c *Client, kind, name string, keep time.Duration) record[T] {
	r := record[T]{m: Map{c: c, name: name}, keep: keep}
	if c != nil {
		r.m.full, r.m.err = c.own(kind, name)
	}
	return r
}

func (r record[T]) load(ctx context.Context) (seen[T], error) {
	e, err := r.m.get(ctx, "")
	if errors.Is(err, ErrNotFound) {
		return seen[T]{}, nil
	}
	if err != nil {
		return seen[T]{}, err
	}
	return parseRecord[T](r.m.name, e.Value, e.Revision)
}

func parseRecord[T any](name string, value []byte, revision Revision) (seen[T], error) {
	// The layout first: a newer one may have a state that this one cannot parse.
	var head written[json.RawMessage]
	if err := json.Unmarshal(value, &head); err != nil || head.Layout < 1 {
		return seen[T]{}, &MismatchError{Name: name, Detail: "what is stored for it is no record of Lockstep's"}
	}
	if head.Layout > recordLayout {
		return seen[T]{}, fmt.Errorf("%w: its record has layout %d and this program knows %d: it needs a newer Lockstep",
			ErrUnsupported, head.Layout, recordLayout)
	}
	s := seen[T]{revision: revision}
	if err := json.Unmarshal(head.State, &s.state); err != nil {
		return seen[T]{}, &MismatchError{Name: name, Detail: "what is stored for it is a record of another kind"}
	}
	if head.Ends > 0 {
		s.ends = time.UnixMilli(head.Ends)
	}
	return s, nil
}

// update takes the record one step further, once. step changes the state that it
// is given, and says whether it did; it is called again where somebody else was
// faster. An id makes one step of all updates that have it (within an hour): for a
// caller who does not know whether an earlier one was done; "": a step of its own.
func (r record[T]) update(ctx context.Context, id string, step func(ctx context.Context, s *seen[T]) (bool, error)) (seen[T], error) {
	if id == "" {
		id = rand.Text()
	}
	for conflicts := 0; ; conflicts++ {
		s, err := r.load(ctx)
		if err != nil {
			return s, err
		}
		changed, err := step(ctx, &s)
		if err != nil || !changed {
			return s, err
		}
		s, err = r.write(ctx, id, s)
		if !errors.Is(err, ErrConflict) {
			return s, err
		}
		pauseAfterConflict(ctx, conflicts)
	}
}

func (r record[T]) write(ctx context.Context, id string, s seen[T]) (seen[T], error) {
	w := written[T]{Layout: recordLayout, State: s.state}
	if r.keep > 0 {
		s.ends = endOf(r.keep)
		w.Ends = s.ends.UnixMilli()
	}
	value, err := json.Marshal(w)
	if err != nil {
		return s, err
	}
	if r.keep > 0 && s.revision == 0 {
		if err := r.register(ctx, s.ends); err != nil {
			return s, err
		}
	}
	s.revision, err = r.m.commit(ctx, Tx{ID: id, If: []Cond{{Revision: s.revision}}, Put: []Entry{{Value: value}}})
	return s, err
}

// remove deletes the record.
func (r record[T]) remove(ctx context.Context) error {
	_, err := r.m.commit(ctx, Tx{Put: []Entry{{Deleted: true}}})
	return err
}

// wait follows the record until it is as it should be.
func (r record[T]) wait(ctx context.Context, done func(s seen[T]) (bool, error)) (seen[T], error) {
	value := Value{&r.m}
	for change, err := range value.Watch(ctx) {
		if err != nil {
			return seen[T]{}, unwatched(err)
		}
		var s seen[T]
		if change.Op == OpPut {
			if s, err = parseRecord[T](r.m.name, change.Value, change.Revision); err != nil {
				return s, err
			}
		}
		if ok, err := done(s); ok || err != nil {
			return s, err
		}
	}
	return seen[T]{}, ErrClosed
}

// unwatched is the error of a watch without the watch's own words around it: the
// operation that waits has its own.
func unwatched(err error) error {
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}
