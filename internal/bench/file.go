package main

// fileTable is the embedded engine. Nobody else offers its service without a
// server, so that its peers do less: each line says what.
func fileTable() table {
	ours := lockstepContender(fileCycles, openFileEngine)
	against := func(peer contender, t target) row {
		return comparison{what: uncontended, unit: microseconds, ours: ours, peer: peer, target: t}
	}
	return table{"file", []row{
		against(durableFlock(fileCycles), target{atMost: 0.33}),
		against(plainSQLite(fileCycles, "FULL"), target{}),
		against(plainSQLite(fileCycles, "NORMAL"), target{}),
		against(gofrsFlock(fileCycles), target{}),
		against(bareContender("the engine without the core", fileCycles, openFileEngine), target{}),
		handOffRow("bell → event", "bell", newBellGiver, target{atMost: 4}),
		handOffRow("flock", "flock", newFlockGiver, target{}),
		turnsRow("2 processes taking turns", 2, "flock, free for all", "flock", target{atLeast: 0.5}),
		turnsRow("16 processes taking turns", 16, "flock, free for all", "flock", target{atLeast: 0.5}),
		turnsRow("2 processes taking turns", 2, "flock, stepping back", "flock-step", target{}),
		pausesRow{},
		holdRow{},
		crowdRow{},
	}}
}

func handOffRow(peer, kind string, open func(dir string) (giver, error), t target) row {
	return comparison{
		what: handedOver, unit: microseconds,
		ours:   relayContender("Lockstep", "lockstep", newLockstepGiver),
		peer:   relayContender(peer, kind, open),
		target: t,
	}
}

func turnsRow(what string, processes int, peer, kind string, t target) row {
	return comparison{
		what: what + ", hand-offs", unit: perSecond,
		ours:   turnsContender("Lockstep", "lockstep", processes),
		peer:   turnsContender(peer, kind, processes),
		target: t,
		also: func(ours, theirs sampler) []line {
			return fairness(what+", ", peer, ours.(*turns), theirs.(*turns), target{}, longestWait)
		},
	}
}
