package torture

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidislock"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// rueidislock keeps a lock at PREFIX:0:NAME, PREFIX:1:NAME …, and holds it by a
// majority of 2·KeyMajority−1 such keys. Whoever has as many of them as a majority
// excludes it: any majority of theirs has one of these.
func rueidislockNames(majority int, name string) (names []string) {
	for i := range majority {
		names = append(names, fmt.Sprintf("rueidislock:%d:%s", i, name))
	}
	return names
}

func TestAFleetThatUsesRueidislockMovesOverUnderItsKeys(t *testing.T) {
	for _, majority := range []int{1, 2} {
		t.Run(fmt.Sprintf("majority %d", majority), func(t *testing.T) {
			s := redistest.Start(t)
			ctx := guarded(t, hang)
			locker, err := rueidislock.NewLocker(rueidislock.LockerOption{
				ClientOption: rueidis.ClientOption{InitAddress: []string{s.Addr}},
				KeyValidity:  foreignTTL, KeyMajority: int32(majority), NoLoopTracking: true,
				TryNextAfter: hang, // its 20 ms are too short for a busy machine
			})
			if err != nil {
				t.Fatal(err)
			}
			defer locker.Close()
			c := open(t, s.Addr, lockstep.DefaultTTL)
			ours := c.Multi(rueidislockNames(majority, "n")...)
			for range 3 {
				lease, err := ours.Lock(ctx)
				if err != nil {
					t.Fatal(err)
				}
				if _, _, err := locker.TryWithContext(ctx, "n"); !errors.Is(err, rueidislock.ErrNotLocked) {
					t.Errorf("rueidislock, while we hold it: %v", err)
				}
				if err := lease.Release(ctx); err != nil {
					t.Fatal(err)
				}
				held, release := rueidislockHolds(ctx, t, locker)
				if _, err := ours.TryLock(ctx); !errors.Is(err, lockstep.ErrHeld) {
					t.Errorf("ours, while rueidislock holds it: %v", err)
				}
				if held.Err() != nil {
					t.Error("rueidislock lost its lock")
				}
				release()
			}
		})
	}
}

// rueidislockHolds waits for its lock: what it let go of after a refusal is still
// on its way.
func rueidislockHolds(ctx context.Context, t *testing.T, locker rueidislock.Locker) (context.Context, func()) {
	t.Helper()
	for {
		held, release, err := locker.TryWithContext(ctx, "n")
		switch {
		case err == nil:
			return held, release
		case ctx.Err() != nil || !errors.Is(err, rueidislock.ErrNotLocked):
			t.Fatalf("rueidislock: %v", err)
		}
	}
}
