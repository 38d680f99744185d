package sqliteengine

import (
	"context"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
)

func TestConformance(t *testing.T) { enginetest.Run(t, harness(t.TempDir())) }

func TestPrimitives(t *testing.T) { enginetest.RunPrimitives(t, harness(t.TempDir())) }

// TestConformanceByTTL has sessions run out in real time.
func TestConformanceByTTL(t *testing.T) {
	h := harness(t.TempDir())
	h.EndSession, h.Forget, h.Compact, h.Transactions = nil, nil, nil, nil
	enginetest.Run(t, h)
}

// harness is one directory, with every handle on it as if in another process:
// engines share nothing in memory but the watcher of files.
func harness(dir string) enginetest.Harness {
	var mu sync.Mutex
	var all []*Engine
	return enginetest.Harness{
		Open: func(t enginetest.TB) engine.Engine {
			e, err := Open(t.Context(), dir)
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, e)
			return e
		},
		EndSession: func(t enginetest.TB, s engine.Session) {
			session := s.(*Session)
			inside(t, session.e, func(tx *txn) error { return tx.reap(session.id) })
		},
		Forget: func(t enginetest.TB) {
			withEngine(t, dir, func(e *Engine) { forget(t, e) })
		},
		Compact: func(t enginetest.TB, m string) {
			withEngine(t, dir, func(e *Engine) {
				insideStore(t, e, func(tx *txn) error {
					return tx.script("DELETE FROM changes; UPDATE maps SET floor = revision, logged = 0, bytes = 0")
				})
			})
		},
		Transactions: func(enginetest.TB) int {
			mu.Lock()
			defer mu.Unlock()
			n := int64(0)
			for _, e := range all {
				n += e.Transactions()
			}
			return int(n)
		},
	}
}

func withEngine(t enginetest.TB, dir string, f func(*Engine)) {
	e, err := Open(context.Background(), dir)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	f(e)
	if err := e.Close(); err != nil {
		t.Fatalf("close: %v", err)
	}
}

// forget is a directory that somebody removed and made again, as far as that
// can be while it is open.
func forget(t enginetest.TB, e *Engine) {
	now := e.clock.wall()
	token := nextEpoch(0, now)
	insideStore(t, e, func(tx *txn) error {
		if err := tx.script("DELETE FROM maps; DELETE FROM entries; DELETE FROM changes; DELETE FROM commits"); err != nil {
			return err
		}
		_, err := tx.exec("UPDATE meta SET token = ?1, revision = ?2, base = ?2", token, now.UnixMicro())
		return err
	})
	inside(t, e, func(tx *txn) error {
		if err := tx.script("DELETE FROM sessions; DELETE FROM claims WHERE name > ''"); err != nil {
			return err
		}
		if err := tx.load(); err != nil {
			return err
		}
		tx.meta.token, tx.meta.changed = token, true
		for r, err := range tx.query("SELECT DISTINCT bell FROM watchers") {
			if err != nil {
				return err
			}
			tx.ring(r.int(0))
		}
		return nil
	})
}
