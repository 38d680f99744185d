package sqliteengine

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// files lists the ids that have a file in a folder of the engine's.
func files(folder string) ([]int64, error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", folder, err)
	}
	ids := make([]int64, 0, len(entries))
	for _, entry := range entries {
		if id, ok := parseFileName(entry.Name()); ok {
			ids = append(ids, id)
		}
	}
	return ids, nil
}

// deadSessions are those with a file that says so.
func (e *Engine) deadSessions() ([]int64, error) {
	ids, err := files(e.dir.sessions())
	if err != nil {
		return nil, err
	}
	dead := ids[:0]
	for _, id := range ids {
		if !e.isAlive(id) {
			dead = append(dead, id)
		}
	}
	return dead, nil
}

// sweep removes what the dead left behind (S12): sessions with all their claims,
// terms that are over, files without an owner. Every Begin of a session does it,
// so a directory in use stays clean, and one that is not grows no further.
func (t *txn) sweep() error {
	if err := t.endTerms(); err != nil {
		return err
	}
	var rows []int64
	for r, err := range t.query("SELECT id FROM sessions") {
		if err != nil {
			return err
		}
		rows = append(rows, r.int(0))
	}
	known := make(map[int64]bool, len(rows))
	for _, id := range rows {
		known[id] = true
		if t.isAlive(id) {
			continue
		}
		if err := t.reap(id); err != nil {
			return err
		}
	}
	t.e.sweepFiles(t.e.dir.sessions(), known)
	return t.sweepBells()
}

// sweepBells also forgets what the dead watched.
func (t *txn) sweepBells() error {
	t.e.sweepFiles(t.e.dir.bells(), nil)
	if err := t.load(); err != nil || t.meta.watched == 0 {
		return err
	}
	left, err := files(t.e.dir.bells())
	if err != nil {
		return err
	}
	here := make(map[int64]bool, len(left))
	for _, id := range left {
		here[id] = true
	}
	var gone []int64
	for r, err := range t.query("SELECT DISTINCT bell FROM watchers") {
		if err != nil {
			return err
		}
		if id := r.int(0); !here[id] {
			gone = append(gone, id)
		}
	}
	for _, id := range gone {
		if err := t.unwatchAll(id); err != nil {
			return err
		}
	}
	return nil
}

// sweepFiles removes the files of a folder that nobody keeps locked. What cannot
// be removed is in nobody's way.
func (e *Engine) sweepFiles(folder string, keep map[int64]bool) {
	ids, err := files(folder)
	for _, id := range ids {
		if !keep[id] {
			err = errors.Join(err, sweepFile(filepath.Join(folder, fileName(id))))
		}
	}
	if err != nil {
		e.log.Warn("lockstep: cannot sweep", "folder", folder, "error", err)
	}
}
