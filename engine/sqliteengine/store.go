package sqliteengine

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// store is the maps of a directory; it implements [engine.Store]. A map is its
// entries and the log of the last commits. Revisions count the commits of the
// whole directory, so a map that was forgotten and made anew goes on above what
// anybody can have seen of it.
type store struct{ *Engine }

// A map's log holds so many commits and bytes of values; a watcher that asks for
// earlier ones meets a gap. Values are at most maxValue bytes.
const (
	maxLog      = 1024
	maxLogBytes = 8 << 20
	maxValue    = 1 << 20
)

// What was committed under which id is remembered for an hour (S4). A map that
// is empty for as long is forgotten (S12).
const retention = time.Hour

// Get is one entry.
func (s store) Get(ctx context.Context, m, key string) (engine.Entry, error) {
	var entry engine.Entry
	found := false
	err := s.maps.single(ctx, func(c *conn) error {
		r, err := c.first("SELECT revision, value FROM entries WHERE map = (SELECT id FROM maps WHERE name = ?) AND key = ?", m, key)
		if found = r != nil; found {
			entry = engine.Entry{Key: key, Revision: engine.Revision(r.int(0)), Value: r.blob(1)}
		}
		return err
	})
	if err == nil && !found {
		err = fmt.Errorf("key %q of map %q: %w", key, m, engine.ErrNotFound)
	}
	return entry, err
}

// List is a whole map at one revision.
func (s store) List(ctx context.Context, m string) (event engine.Event, err error) {
	err = s.maps.snapshot(ctx, func(c *conn) (err error) {
		event, err = readMap(c, m)
		return err
	})
	return event, err
}

// readMap reads inside a snapshot.
func readMap(c *conn, name string) (engine.Event, error) {
	r, err := c.first("SELECT (SELECT id FROM maps WHERE name = ?1), (SELECT revision FROM maps WHERE name = ?1), revision FROM meta", name)
	if err != nil {
		return engine.Event{}, err
	}
	if r.int(0) == 0 {
		return engine.Event{Revision: engine.Revision(r.int(2)), Full: true}, nil
	}
	event := engine.Event{Revision: engine.Revision(r.int(1)), Full: true}
	for r, err := range c.query("SELECT key, revision, value FROM entries WHERE map = ? ORDER BY key", r.int(0)) {
		if err != nil {
			return engine.Event{}, err
		}
		event.Entries = append(event.Entries, engine.Entry{Key: r.text(0), Revision: engine.Revision(r.int(1)), Value: r.blob(2)})
	}
	return event, nil
}

// Commit does all of tx or nothing, durably.
func (s store) Commit(ctx context.Context, m string, tx engine.Tx) (engine.Revision, error) {
	for _, e := range tx.Put {
		if len(e.Value) > maxValue {
			return 0, fmt.Errorf("%w: value of %d bytes, the longest is %d", engine.ErrInvalid, len(e.Value), maxValue)
		}
	}
	a, err := transact(ctx, s.commits, func(t *txn) (committed, error) { return t.commit(m, tx) })
	if err != nil {
		return 0, err
	}
	return a.revision, a.err
}

// committed is the answer to a commit: a revision, or an error of the seam.
type committed struct {
	revision engine.Revision
	err      error
}

// namedMap is a row of maps, and the store's revision.
type namedMap struct {
	store, id, revision, floor, logged, bytes, entries int64
}

func (t *txn) commit(name string, c engine.Tx) (committed, error) {
	if r, err := t.remembered(name, c.ID); err != nil || r > 0 {
		return committed{revision: r}, err
	}
	m, err := t.openMap(name)
	if err != nil {
		return committed{}, err
	}
	if conflict, err := t.check(name, m, c.If); err != nil || conflict != nil {
		return committed{err: conflict}, err
	}
	changes, added, err := t.changes(m, c.Put)
	if err != nil {
		return committed{}, err
	}
	if len(changes) > 0 {
		if err := t.apply(name, &m, changes, added); err != nil {
			return committed{}, err
		}
	}
	return committed{revision: engine.Revision(m.revision)}, t.remember(name, c.ID, m.revision)
}

// openMap reads the map's row, and where the store is. A map that is not there has
// id 0, and begins there: nothing happened to it before.
func (t *txn) openMap(name string) (namedMap, error) {
	r, err := t.first(`SELECT meta.revision, meta.base, m.id, m.revision, m.floor, m.logged, m.bytes, m.entries
		FROM meta LEFT JOIN maps m ON m.name = ?`, name)
	if err != nil {
		return namedMap{}, err
	}
	m := namedMap{store: r.int(0), id: r.int(2), revision: r.int(3), floor: r.int(4), logged: r.int(5), bytes: r.int(6), entries: r.int(7)}
	if m.id == 0 {
		m.revision, m.floor = m.store, r.int(1)
	}
	return m, nil
}

// check says which condition does not hold; nil: all do.
func (t *txn) check(name string, m namedMap, conds []engine.Cond) (conflict, err error) {
	for _, cond := range conds {
		is, err := t.revisionOf(m, cond.Key)
		if err != nil {
			return nil, err
		}
		if engine.Revision(is) != cond.Revision {
			return fmt.Errorf("key %q of map %q is at revision %d, not %d: %w", cond.Key, name, is, cond.Revision, engine.ErrConflict), nil
		}
	}
	return nil, nil
}

// revisionOf is a key's revision; 0: it is not there.
func (t *txn) revisionOf(m namedMap, key string) (int64, error) {
	r, err := t.first("SELECT revision FROM entries WHERE map = ? AND key = ?", m.id, key)
	if r == nil || err != nil {
		return 0, err
	}
	return r.int(0), nil
}

// changes leaves out deletions of what is not there, and counts by how many
// entries the map grows.
func (t *txn) changes(m namedMap, puts []engine.Entry) (changes []engine.Entry, added int64, err error) {
	for _, e := range puts {
		is, err := t.revisionOf(m, e.Key)
		if err != nil {
			return nil, 0, err
		}
		switch {
		case e.Deleted && is == 0:
			continue
		case e.Deleted:
			added--
		case is == 0:
			added++
		}
		changes = append(changes, e)
	}
	return changes, added, nil
}

// apply writes the changes at the next revision, logs them and has watchers told.
func (t *txn) apply(name string, m *namedMap, changes []engine.Entry, added int64) error {
	m.revision = m.store + 1
	if _, err := t.exec("UPDATE meta SET revision = ?", m.revision); err != nil {
		return err
	}
	m.entries += added
	if m.id == 0 {
		if err := t.createMap(name, m); err != nil {
			return err
		}
	}
	for n, e := range changes {
		if err := t.write(m, n, e); err != nil {
			return err
		}
	}
	m.logged++
	if err := t.trim(m); err != nil {
		return err
	}
	emptied := int64(0)
	if m.entries == 0 {
		emptied = t.now
	}
	_, err := t.exec("UPDATE maps SET revision = ?, floor = ?, logged = ?, bytes = ?, entries = ?, emptied = ? WHERE id = ?",
		m.revision, m.floor, m.logged, m.bytes, m.entries, emptied, m.id)
	t.after = append(t.after, func() { t.e.tellMap(name) })
	return err
}

// createMap makes the map's row, and pays for it by forgetting old ones. Those
// it forgets are not this one: an empty map that is used again has its row.
func (t *txn) createMap(name string, m *namedMap) error {
	if err := t.forgetMaps(); err != nil {
		return err
	}
	r, err := t.first("INSERT INTO maps (name, revision, floor, logged, bytes, entries, emptied) VALUES (?, 0, 0, 0, 0, 0, 0) RETURNING id", name)
	if err == nil {
		m.id = r.int(0)
	}
	return err
}

func (t *txn) write(m *namedMap, n int, e engine.Entry) error {
	deleted, value := int64(0), any(e.Value)
	var err error
	if e.Deleted {
		deleted, value = 1, nil
		_, err = t.exec("DELETE FROM entries WHERE map = ? AND key = ?", m.id, e.Key)
	} else {
		_, err = t.exec(`INSERT INTO entries (map, key, revision, value) VALUES (?, ?, ?, ?)
			ON CONFLICT (map, key) DO UPDATE SET revision = excluded.revision, value = excluded.value`,
			m.id, e.Key, m.revision, bytes.Clone(e.Value))
		m.bytes += int64(len(e.Value))
	}
	if err != nil {
		return err
	}
	_, err = t.exec("INSERT INTO changes (map, revision, n, key, deleted, value) VALUES (?, ?, ?, ?, ?, ?)",
		m.id, m.revision, int64(n), e.Key, deleted, value)
	return err
}

// trim shortens the map's log to its bounds, from its old end.
func (t *txn) trim(m *namedMap) error {
	for m.logged > 0 && (m.logged > maxLog || m.bytes > maxLogBytes) {
		r, err := t.first("SELECT revision, sum(length(value)) FROM changes WHERE map = ? GROUP BY revision ORDER BY revision LIMIT 1", m.id)
		if err != nil {
			return err
		}
		m.floor = r.int(0)
		m.bytes -= r.int(1)
		m.logged--
		if _, err := t.exec("DELETE FROM changes WHERE map = ? AND revision = ?", m.id, m.floor); err != nil {
			return err
		}
	}
	return nil
}

// forgetMaps drops maps that have been empty for the retention. A watcher of one
// meets a gap, and an empty map; so does one of a map that was made anew.
func (t *txn) forgetMaps() error {
	old := t.now - int64(retention)
	_, err := t.exec("DELETE FROM changes WHERE map IN (SELECT id FROM maps WHERE emptied > 0 AND emptied <= ?)", old)
	if err != nil {
		return err
	}
	n, err := t.exec("DELETE FROM maps WHERE emptied > 0 AND emptied <= ?", old)
	if err == nil && n > 0 {
		_, err = t.exec("UPDATE meta SET base = revision")
	}
	return err
}

// remembered is what a commit with this id was answered; 0: there was none.
func (t *txn) remembered(name, id string) (engine.Revision, error) {
	if id == "" {
		return 0, nil
	}
	r, err := t.first("SELECT revision FROM commits WHERE map = ? AND id = ? AND at > ?", name, id, t.now-int64(retention))
	if r == nil || err != nil {
		return 0, err
	}
	return engine.Revision(r.int(0)), nil
}

// remember also forgets: more each time than it adds, so the table shrinks. It looks
// at the oldest only, as rows are in order of time: an hour of commits may be millions.
func (t *txn) remember(name, id string, revision int64) error {
	if id == "" {
		return nil
	}
	_, err := t.exec("DELETE FROM commits WHERE seq IN (SELECT seq FROM commits ORDER BY seq LIMIT 8) AND at <= ?", t.now-int64(retention))
	if err != nil {
		return err
	}
	// An id whose hour is over may still be there, behind older ones.
	_, err = t.exec("INSERT OR REPLACE INTO commits (map, id, revision, at) VALUES (?, ?, ?, ?)", name, id, revision, t.now)
	return err
}
