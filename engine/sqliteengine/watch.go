package sqliteengine

import (
	"context"
	"iter"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// watchPage is how many changes a watch reads at once: it yields between reads,
// not in the middle of one.
const watchPage = 256

// Watch reads the map's log after `after`, and again whenever its bell rings.
func (s store) Watch(ctx context.Context, m string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		w, err := s.wait.watch(ctx, mapTopic(m))
		if err != nil {
			yield(engine.Event{}, err)
			return
		}
		defer s.wait.unwatch(ctx, w)
		told := time.Now()
		for {
			events, err := s.since(ctx, m, after)
			if err != nil {
				yield(engine.Event{}, err)
				return
			}
			for _, event := range events {
				if !yield(event, nil) {
					return
				}
				after = event.Revision
			}
			if len(events) > 0 {
				told = time.Now()
				continue
			}
			if time.Since(told) >= engine.Stale/3 { // it was just read: still current
				if !yield(engine.Event{Revision: after}, nil) {
					return
				}
				told = time.Now()
			}
			if err := w.sleep(ctx, engine.Stale/3); err != nil {
				yield(engine.Event{}, err)
				return
			}
		}
	}
}

// since is the next commits after a revision, or the whole map where the log
// does not reach back so far, or the map not forward.
func (s store) since(ctx context.Context, m string, after engine.Revision) (events []engine.Event, err error) {
	err = s.maps.snapshot(ctx, func(c *conn) error {
		r, err := c.first("SELECT m.id, m.revision, m.floor, meta.revision, meta.base FROM meta LEFT JOIN maps m ON m.name = ?", m)
		if err != nil {
			return err
		}
		is, floor := engine.Revision(r.int(1)), engine.Revision(r.int(2))
		if r.int(0) == 0 { // never used, or forgotten: nothing happened since the store's last commit
			is, floor = engine.Revision(r.int(3)), engine.Revision(r.int(4))
		}
		events = nil
		if after == 0 || after < floor || after > is {
			full, err := readMap(c, m)
			events = []engine.Event{full}
			return err
		}
		if r.int(0) == 0 {
			return nil
		}
		events, err = readLog(c, r.int(0), after)
		return err
	})
	return events, err
}

// readLog is the next commits, whole ones, in order.
func readLog(c *conn, id int64, after engine.Revision) ([]engine.Event, error) {
	var events []engine.Event
	n := 0
	log := c.query("SELECT revision, key, deleted, value FROM changes WHERE map = ? AND revision > ? ORDER BY revision, n", id, int64(after))
	for r, err := range log {
		if err != nil {
			return nil, err
		}
		revision := engine.Revision(r.int(0))
		if len(events) == 0 || events[len(events)-1].Revision != revision {
			if n >= watchPage {
				break
			}
			events = append(events, engine.Event{Revision: revision})
		}
		n++
		last := &events[len(events)-1]
		last.Entries = append(last.Entries, engine.Entry{Key: r.text(1), Value: r.blob(3), Revision: revision, Deleted: r.int(2) > 0})
	}
	return events, nil
}
