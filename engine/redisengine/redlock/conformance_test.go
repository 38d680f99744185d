package redlock

import (
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

func TestConformance(t *testing.T) { enginetest.Run(t, harness(t)) }

func TestPrimitives(t *testing.T) { enginetest.RunPrimitives(t, harness(t)) }

// harness is five servers, with a client of its own for every handle.
func harness(t *testing.T) enginetest.Harness {
	nodes := start(t, 5)
	return enginetest.Harness{
		Open:       func(t enginetest.TB) engine.Engine { return openOn(t, nodes) },
		ClaimsOnly: true,
		Forget: func(t enginetest.TB) {
			for _, n := range nodes {
				n.MustDo(t, "FLUSHALL")
				second := unixSecond(t, n)
				for unixSecond(t, n) == second { // counts begin with whole seconds: S2, as far as the clock moved on
					time.Sleep(time.Millisecond)
				}
			}
		},
		Transactions: func(t enginetest.TB) (n int) {
			for _, node := range nodes {
				n += node.ScriptsRun(t)
			}
			return n
		},
	}
}

func unixSecond(t enginetest.TB, n *redistest.Server) any {
	t.Helper()
	now, _ := n.MustDo(t, "TIME").([]any)
	return now[0]
}
