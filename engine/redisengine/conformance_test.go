package redisengine

import (
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

func TestConformance(t *testing.T) { enginetest.Run(t, harness(t)) }

func TestPrimitives(t *testing.T) { enginetest.RunPrimitives(t, harness(t)) }

// harness is one server, with a client of its own for every handle.
func harness(t *testing.T) enginetest.Harness {
	server := redistest.Start(t)
	return enginetest.Harness{
		Open:       func(t enginetest.TB) engine.Engine { return openOn(t, server, "") },
		ClaimsOnly: true,
		Forget:     func(t enginetest.TB) { ask(t, server, "FLUSHALL") },
		Compact:    func(t enginetest.TB, m string) { ask(t, server, "XTRIM", root(m)+"log", "MAXLEN", "0") },
		Transactions: func(t enginetest.TB) int {
			return server.ScriptsRun(t)
		},
	}
}

// openOn opens the server as a user does, by a URL's target.
func openOn(t enginetest.TB, server *redistest.Server, prefix string) *Engine {
	t.Helper()
	target := engine.Target{Scheme: "redis", Hosts: []string{server.Addr}, Params: map[string]string{}}
	if prefix != "" {
		target.Params[paramPrefix] = prefix
	}
	e, err := Driver.Open(t.Context(), target)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return e.(*Engine)
}

func ask(t enginetest.TB, server *redistest.Server, command ...string) any {
	t.Helper()
	v, err := server.Do(command...)
	if err != nil {
		t.Fatalf("%v: %v", command, err)
	}
	return v
}
