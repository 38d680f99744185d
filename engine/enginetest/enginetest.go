// Package enginetest holds every engine to the contract of package engine.
//
// An engine's test calls [Run] with a [Harness] for its real service. One area
// of the contract is one file here (areas lists them), one rule is one check; a
// rule that does not apply to an engine, by its Info or for want of a hook, is
// named in one log line of Run.
//
// The checks run on real servers and in real time. They wait for signals, never
// for an amount of time, and measure only that a thing did not happen too early:
// a slow machine makes them slow, not red. What must be seen to be waiting is
// seen in its line. One guard ends what hangs.
//
// [RunPrimitives] runs what package lockstep builds on the seam, on the same
// engine.
//
// [Faulty] is the other half: an engine whose requests and replies are lost,
// late and repeated at chosen calls, to test what stands on the seam.
package enginetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// hang is when a check gives up: long beyond what the slowest service needs.
const hang = 45 * time.Second

// grace is what a call has to notice that its context ended, after which a
// check goes on without it.
const grace = 10 * time.Second

// TB is what a check needs of a [testing.T], so that this package's own tests
// can run checks that must fail.
type TB interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Harness is one running service with an engine for it. Open is required; what
// a nil hook would do is not tested.
type Harness struct {
	// Open is a fresh handle on the service, the same one for the whole Run, as
	// another process would have it. The suite closes it.
	Open func(t TB) engine.Engine

	// EndSession makes the service forget a session of one of these handles now,
	// as if its TTL had run out. nil: sessions are left to run out.
	EndSession func(t TB, s engine.Session)

	// ClaimsOnly says that the service keeps nothing of a session but its claims:
	// one that ends is told by its claims, never by ErrSessionEnded.
	ClaimsOnly bool

	// Forget makes the service lose all its data. Nothing else runs meanwhile.
	Forget func(t TB)

	// Compact makes the service forget how map m became what it is, so that a
	// watcher at an earlier revision meets a gap.
	Compact func(t TB, m string)

	// Transactions counts what the service has been asked so far through all
	// handles: transactions, or requests where it has none. Nothing else runs
	// while it is looked at.
	Transactions func(t TB) int
}

// Run runs every check of the contract that applies to the engine.
func Run(t *testing.T, h Harness) { run(t, h, areas) }

func run(t *testing.T, h Harness, areas []area) {
	t.Helper()
	s := newSuite(t, h)
	var parallel []area
	for _, a := range areas {
		var later []check
		for _, c := range a.checks {
			switch {
			case s.missing(c) != "":
				t.Logf("does not apply here: %s: %s (needs %s)", a.name, c.rule, s.missing(c))
			case c.alone:
				t.Run(a.name+"/"+c.rule, func(t *testing.T) { c.run(t, s) })
			default:
				later = append(later, c)
			}
		}
		parallel = append(parallel, area{a.name, later})
	}
	for _, a := range parallel {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range a.checks {
				t.Run(c.rule, func(t *testing.T) {
					t.Parallel()
					c.run(t, s)
				})
			}
		})
	}
}

// area is one part of the contract.
type area struct {
	name   string
	checks []check
}

// check is one rule. Its name is the rule.
type check struct {
	rule  string
	needs needs
	alone bool // disturbs, or is disturbed by, all others
	run   func(t TB, s *suite)
}

var areas = []area{
	{"session", sessionChecks},
	{"queue order", orderChecks},
	{"shares and limits", sharesChecks},
	{"read-write", readWriteChecks},
	{"try", tryChecks},
	{"kinds", kindChecks},
	{"cancel", cancelChecks},
	{"tokens", tokenChecks},
	{"unknown outcome", unknownChecks},
	{"session end", sessionEndChecks},
	{"fixed term", termChecks},
	{"pass", passChecks},
	{"notes", noteChecks},
	{"line", lineChecks},
	{"names", namesChecks},
	{"commit", commitChecks},
	{"conditions", conditionChecks},
	{"watch", watchChecks},
	{"gap", gapChecks},
	{"limits", limitChecks},
	{"close", closeChecks},
	{"concurrency", concurrencyChecks},
	{"idle", idleChecks},
	{"bad network", faultChecks},
	{"through the core", coreChecks},
}

// needs is what a check cannot do without.
type needs uint

const (
	needFIFO needs = 1 << iota
	needStore
	needEveryChange
	needEveryTerm
	needTerm
	needNoTerm
	needPass
	needNoPass
	needSemaphore
	needReadWrite
	needElection
	needGroup
	needForget
	needCompact
	needTransactions
	needSessions
	needMaxOps
	needMaxTerm
)

// missing says what of a check's needs the engine or its harness has not.
func (s *suite) missing(c check) string {
	has := func(k engine.Kind) bool { return slices.Contains(s.info.Kinds, k) }
	var lacks []string
	for _, n := range []struct {
		need needs
		has  bool
		what string
	}{
		{needFIFO, s.info.FIFO, "Info.FIFO"},
		{needStore, s.info.Store, "Info.Store"},
		{needEveryChange, s.info.EveryChange, "Info.EveryChange"},
		{needEveryTerm, s.info.EveryTerm, "Info.EveryTerm"},
		{needTerm, s.info.FixedTerm, "Info.FixedTerm"},
		{needNoTerm, !s.info.FixedTerm, "no Info.FixedTerm"},
		{needPass, s.info.Pass, "Info.Pass"},
		{needNoPass, !s.info.Pass, "no Info.Pass"},
		{needSemaphore, has(engine.Semaphore), "semaphores"},
		{needReadWrite, has(engine.ReadWrite), "read-write locks"},
		{needElection, has(engine.Election), "elections"},
		{needGroup, has(engine.Group), "groups"},
		{needForget, s.Forget != nil, "Harness.Forget"},
		{needCompact, s.Compact != nil, "Harness.Compact"},
		{needTransactions, s.Transactions != nil, "Harness.Transactions"},
		{needSessions, !s.ClaimsOnly, "no Harness.ClaimsOnly"},
		{needMaxOps, s.info.MaxOps > 0, "Info.MaxOps"},
		{needMaxTerm, s.info.MaxTerm > 0, "Info.MaxTerm"},
	} {
		if c.needs&n.need != 0 && !n.has {
			lacks = append(lacks, n.what)
		}
	}
	return strings.Join(lacks, ", ")
}

// suite is a harness and what its engine says of itself.
type suite struct {
	Harness
	info engine.Info
}

func newSuite(t TB, h Harness) *suite {
	t.Helper()
	e := h.Open(t)
	t.Cleanup(func() { e.Close() })
	info := e.Info()
	if (e.Store() != nil) != info.Store {
		t.Fatalf("Info.Store is %v and Store() is %v", info.Store, e.Store())
	}
	if !slices.Contains(info.Kinds, engine.Mutex) || info.Engine == "" {
		t.Fatalf("Info %+v: want a name and mutexes at least", info)
	}
	if info.Store && info.MaxValue <= 0 {
		t.Fatalf("Info.MaxValue is %d for an engine with a store", info.MaxValue)
	}
	return &suite{h, info}
}

// guarded is the check's context with the guard's end.
func guarded(t TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), hang, fmt.Errorf("enginetest: nothing happened for %v", hang))
	t.Cleanup(cancel)
	return ctx
}
