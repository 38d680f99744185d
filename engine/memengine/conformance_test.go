package memengine_test

import (
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

func harness() enginetest.Harness {
	service := memengine.NewService()
	return enginetest.Harness{
		Open:         func(enginetest.TB) engine.Engine { return service.Engine() },
		EndSession:   func(_ enginetest.TB, s engine.Session) { service.EndSession(s) },
		Forget:       func(enginetest.TB) { service.Forget() },
		Compact:      func(_ enginetest.TB, m string) { service.Compact(m) },
		Transactions: func(enginetest.TB) int { return service.Transactions() },
	}
}

func TestConformance(t *testing.T) { enginetest.Run(t, harness()) }

// TestConformanceByTTL has sessions run out, as an engine without a hook must.
func TestConformanceByTTL(t *testing.T) {
	h := harness()
	h.EndSession, h.Forget, h.Compact, h.Transactions = nil, nil, nil, nil
	enginetest.Run(t, h)
}

func TestPrimitives(t *testing.T) { enginetest.RunPrimitives(t, harness()) }
