package main

import "time"

// The rows that every table of a service has. A service differs from another in how
// a server of it is started and what that tells (server.go), in who stands beside
// Lockstep, and in what is asked of Lockstep there.

const (
	uncontended  = "lock + unlock"
	manyNames    = "64 goroutines on 64 names, lock + unlock"
	handedOver   = "hand-off between 2 processes"
	turnsOf16    = "16 processes taking turns, hand-offs"
	crowdOf100   = "100 waiters on one name"
	held10000    = "10,000 leases held"
	putToEvent   = "put → event in another process"
	watchers1000 = "1,000 watchers in one process"
)

// service is what a table is of.
type service struct {
	name  string // of the table
	start func(*bench) (countingServer, error)

	cycles int           // locks and unlocks of a sample
	span   time.Duration // of a sample that is a rate

	uncontended, manyNames, handedOver match
	turns                              turnsOf
	crowd                              crowdOf
	held                               heldOf
	putToEvent                         match
	watchers                           watchesOf
}

func (s service) table() table {
	on := func(what string, row func(at countingServer) row) row {
		return onServer[countingServer]{what, s.start, row}
	}
	rows := []row{
		on(uncontended, func(at countingServer) row { return cyclesRow(uncontended, at, s.cycles, s.uncontended) }),
		on(manyNames, func(at countingServer) row { return namesRow(manyNames, at, 64, s.span, s.manyNames) }),
		on(handedOver, func(at countingServer) row { return handedOverRow(at, s.handedOver) }),
		on(turnsOf16, func(at countingServer) row { return serviceTurnsRow(at, s.turns) }),
	}
	if s.turns.floor != "" {
		rows = append(rows, on(turnsOf16, func(at countingServer) row { return turnsFloorRow(at, s.turns) }))
	}
	return table{s.name, append(rows,
		on(crowdOf100, func(at countingServer) row { return serviceCrowdRow{at, s.crowd} }),
		on(held10000, func(at countingServer) row { return serviceHoldRow{at, s.held} }),
		on(putToEvent, func(at countingServer) row { return putToEventRow(at, s.putToEvent) }),
		on(watchers1000, func(at countingServer) row { return manyWatchersRow{at, s.watchers} }),
	)}
}
