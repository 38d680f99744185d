package zkengine

import (
	"testing"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
	"github.com/lockstep-go/lockstep/internal/zktest"
)

// longTimeout keeps pings, which nobody asked for, from being counted.
const longTimeout = "?timeout=30m"

func TestConformance(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{})
	enginetest.Run(t, enginetest.Harness{
		Open: func(t enginetest.TB) engine.Engine { return openURL(t, "zk://"+s.Addr+"/suite"+longTimeout) },
		EndSession: func(t enginetest.TB, session engine.Session) {
			z := session.(*Session).z
			if err := endSession(s.Addr, z); err != nil {
				t.Errorf("end a session: %v", err)
			}
		},
		Transactions: func(enginetest.TB) int { return s.Packets() },
	})
}

// TestConformanceOfAnEnsemble has sessions run out by themselves, and clients of
// different members.
func TestConformanceOfAnEnsemble(t *testing.T) {
	t.Parallel()
	ensemble := zktest.StartEnsemble(t, 3, zktest.Options{})
	enginetest.Run(t, enginetest.Harness{
		Open: func(t enginetest.TB) engine.Engine { return openURL(t, ensemble.URL()) },
	})
}

// TestPrimitives runs on one server, with the faults of a lossy network above it.
func TestPrimitives(t *testing.T) {
	t.Parallel()
	s := zktest.Start(t, zktest.Options{})
	enginetest.RunPrimitives(t, enginetest.Harness{
		Open: func(t enginetest.TB) engine.Engine { return openURL(t, "zk://"+s.Addr+"/primitives") },
		EndSession: func(t enginetest.TB, session engine.Session) {
			z := session.(*Session).z
			if err := endSession(s.Addr, z); err != nil {
				t.Errorf("end a session: %v", err)
			}
		},
	})
}
