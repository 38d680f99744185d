package main

import (
	"sync"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// coreTable is what the core adds to an engine that costs next to nothing.
func coreTable() table {
	const cycles = 2000
	mem := func(*bench) (engine.Engine, error) { return memengine.New(), nil }
	ours := lockstepContender(cycles, mem)
	against := func(peer contender) row {
		return comparison{what: "lock + unlock in memory", unit: microseconds, ours: ours, peer: peer}
	}
	return table{"core", []row{
		against(bareContender("the engine without the core", cycles, mem)),
		against(syncMutex(cycles)),
	}}
}

// syncMutex has no owner, token, line or end: the floor of all locks. One is too
// short to be timed, and a thousand are an operation.
func syncMutex(n int) contender {
	const each = 1000
	return contender{"sync.Mutex", func(b *bench) (sampler, error) {
		var m sync.Mutex
		op := func() error {
			for range each {
				m.Lock()
				m.Unlock() //nolint:staticcheck // empty on purpose
			}
			return nil
		}
		return loop{n: b.count(n), op: op, done: func() error { return nil }, each: each}, nil
	}}
}
