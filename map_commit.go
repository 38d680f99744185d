package lockstep

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// A request to the store whose reply was lost may have been carried out (S4).
// Reads do no harm twice. A commit carries an id that the engine remembers, so it
// is repeated under the same id until its outcome is known.

// maxTxID is the longest id of a commit that the seam takes, in bytes.
const maxTxID = 64

func (m *Map) commit(ctx context.Context, tx Tx) (Revision, error) {
	store, err := m.store()
	if err != nil {
		return 0, err
	}
	if err := checkTx(tx, m.c.info); err != nil {
		return 0, err
	}
	tx = ownTx(tx)
	var revision Revision
	doubt := false
	err = m.c.ask(ctx, func(ctx context.Context) (err error) {
		revision, err = store.Commit(ctx, m.full, tx)
		switch {
		case err == nil, errors.Is(err, ErrConflict):
			// The engine looks at the id first: an earlier request was not done.
			// (One that is still on its way could be, if it asks for a key that
			// is not there and that key goes.)
			doubt = false
		case !engine.Definite(err):
			doubt = true
		}
		return err
	})
	switch {
	case err == nil:
		return revision, nil
	case doubt:
		return 0, fmt.Errorf("%w; it is not known whether this was done", err)
	}
	return 0, err
}

// ownTx is a copy: a request may be on its way when its caller has left and
// writes into its own slices again.
func ownTx(tx Tx) Tx {
	own := Tx{ID: tx.ID, If: slices.Clone(tx.If), Put: make([]Entry, len(tx.Put))}
	if own.ID == "" {
		own.ID = cryptorand.Text()
	}
	for i, e := range tx.Put {
		own.Put[i] = Entry{Key: e.Key, Deleted: e.Deleted}
		if !e.Deleted {
			own.Put[i].Value = bytes.Clone(e.Value)
		}
	}
	return own
}

func checkTx(tx Tx, info engine.Info) error {
	if len(tx.ID) > maxTxID {
		return invalidf("commit id of %d bytes; it may have %d", len(tx.ID), maxTxID)
	}
	if err := checkText("commit id", tx.ID); err != nil {
		return err
	}
	if n := len(tx.If) + len(tx.Put); info.MaxOps > 0 && n > info.MaxOps {
		return invalidf("a commit of %d conditions and entries; this engine takes %d", n, info.MaxOps)
	}
	for _, cond := range tx.If {
		if err := checkKey(cond.Key); err != nil {
			return err
		}
	}
	size := 0
	written := make(map[string]struct{}, len(tx.Put))
	for _, e := range tx.Put {
		if err := checkKey(e.Key); err != nil {
			return err
		}
		if _, twice := written[e.Key]; twice {
			return invalidf("key %.40q twice in one commit", e.Key)
		}
		written[e.Key] = struct{}{}
		size += len(e.Key) + len(e.Value)
		if e.Deleted {
			continue
		}
		if err := checkValue(e.Value, info); err != nil {
			return err
		}
	}
	if info.MaxTx > 0 && size > info.MaxTx {
		return invalidf("a commit of %d bytes; this engine takes %d", size, info.MaxTx)
	}
	return nil
}

// ask repeats a request that may be repeated until its outcome is known, ctx or
// the client ends, or one TTL has passed. What hangs is asked again soon, on a
// fresh connection; each try gets a quarter of the TTL more than the one before,
// for what is merely slow (a large map) needs its time.
func (c *Client) ask(ctx context.Context, request func(context.Context) error) error {
	if ctx.Err() != nil {
		return ended(ctx)
	}
	ttl := c.opts.ttl
	asking, cancel := context.WithTimeout(ctx, ttl)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	for try := 1; ; try++ {
		once, done := context.WithTimeout(asking, time.Duration(try)*ttl/4)
		err := request(once)
		done()
		if err == nil || engine.Definite(err) {
			return classify(ctx, err)
		}
		c.opts.log.Debug("lockstep: a request got no answer; asking again", "error", err)
		sleep(asking, pause(ttl, try))
		switch {
		case ctx.Err() != nil:
			return ended(ctx)
		case c.ctx.Err() != nil:
			return ErrClosed
		case asking.Err() != nil:
			return &unavailableError{err}
		}
	}
}

// pauseAfterConflict keeps those who met from meeting again: up to 1 ms, and up to
// 64 ms after some conflicts in a row.
func pauseAfterConflict(ctx context.Context, conflicts int) {
	sleep(ctx, rand.N(time.Millisecond<<min(conflicts, 6)))
}
