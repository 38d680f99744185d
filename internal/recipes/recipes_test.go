package recipes

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// TestRecipes is what `make recipes` runs: each recipe, both ways at the same time.
func TestRecipes(t *testing.T) {
	t.Run("redis mutex", func(t *testing.T) {
		server := redistest.Start(t)
		takeTurns(t,
			func(ctx context.Context, work func(lockstep.Token) error) error {
				return redisMutexTheirs(ctx, server.Addr, func(context.Context) error { return work(0) })
			},
			func(ctx context.Context, work func(lockstep.Token) error) error {
				return redisMutexOurs(ctx, server.Addr, func(_ context.Context, token lockstep.Token) error { return work(token) })
			})
	})
}

// guard ends what hangs.
const guard = 45 * time.Second

// takeTurns has both forms of a lock contend for it, and sees that only one works
// at a time and that our tokens rise.
func takeTurns(t *testing.T, forms ...func(context.Context, func(lockstep.Token) error) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	var inside atomic.Int32
	var last lockstep.Token
	done := 0
	work := func(token lockstep.Token) error {
		if inside.Add(1) != 1 {
			t.Error("two at a time")
		}
		time.Sleep(time.Millisecond) // who else is let in comes now
		if token != 0 && token <= last {
			t.Errorf("token %d after %d", token, last)
		}
		last = max(last, token)
		done++
		inside.Add(-1)
		return nil
	}
	const turns = 5
	var all sync.WaitGroup
	for _, form := range forms {
		all.Go(func() {
			for range turns {
				if err := form(ctx, work); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	if done != turns*len(forms) {
		t.Errorf("%d turns, want %d", done, turns*len(forms))
	}
}
