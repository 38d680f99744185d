package goredis

import (
	"errors"
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// The suite that the engine passes over its own client it passes over go-redis.
func TestConformance(t *testing.T) {
	server := redistest.Start(t)
	enginetest.Run(t, enginetest.Harness{
		Open: func(t enginetest.TB) engine.Engine {
			e, err := FromGoRedis(t.Context(), clientTo(t, server.Addr))
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			return e
		},
		ClaimsOnly: true,
		Forget:     func(t enginetest.TB) { server.MustDo(t, "FLUSHALL") },
		Compact: func(t enginetest.TB, m string) {
			server.MustDo(t, "XTRIM", "{"+m+"}:lockstep:log", "MAXLEN", "0")
		},
		Transactions: func(t enginetest.TB) int { return server.ScriptsRun(t) },
	})
}

func TestNoClientIsInvalid(t *testing.T) {
	if _, err := FromGoRedis(t.Context(), nil); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

func TestAUserWithoutPermissionsIsRefusedAtOnce(t *testing.T) {
	s := redistest.Start(t)
	s.MustDo(t, "ACL", "SETUSER", "default", "resetchannels")
	if _, err := FromGoRedis(t.Context(), clientTo(t, s.Addr)); !errors.Is(err, engine.ErrUnusable) {
		t.Errorf("%v", err)
	}
}
