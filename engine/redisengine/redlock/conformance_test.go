package redlock

import (
	"sync"
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
	var mu sync.Mutex
	var opened []*Engine
	return enginetest.Harness{
		Open: func(t enginetest.TB) engine.Engine {
			e := openOn(t, nodes)
			mu.Lock()
			defer mu.Unlock()
			opened = append(opened, e)
			return e
		},
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
			mu.Lock()
			defer mu.Unlock()
			for _, e := range opened {
				e.settle()
			}
			for _, node := range nodes {
				n += node.ScriptsRun(t)
			}
			return n
		},
	}
}

// settle waits until all that was asked is answered: a call returns when a majority has
// answered it, and the others may be asked only later.
func (e *Engine) settle() {
	e.mu.Lock()
	closed := e.isClosed
	e.mu.Unlock()
	if !closed {
		e.asides.Wait()
	}
}

func unixSecond(t enginetest.TB, n *redistest.Server) any {
	t.Helper()
	now, _ := n.MustDo(t, "TIME").([]any)
	return now[0]
}
