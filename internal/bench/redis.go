package main

// redisTable is one Redis. Peers on it are many, and all do less: none of their
// locks has a token or a line.
func redisTable() table {
	return table{"redis", []row{
		onRedis{uncontended, uncontendedRow},
		onRedis{manyNames, manyNamesRow},
		onRedis{redisHandOff, redisHandOffRow},
		onRedis{redisTurns16, redisTurnsRow},
		onRedis{redisCrowd100, redisCrowdOf},
		onRedis{redisHeld, func(s *redisServer) row { return redisHoldRow{s, redisHeld} }},
		onRedis{redisWatch, redisWatchRow},
		onRedis{redisWatchers, func(s *redisServer) row { return manyWatchersRow{s, redisWatchers} }},
	}}
}

const (
	uncontended  = "lock + unlock"
	manyNames    = "64 goroutines on 64 names, lock + unlock"
	redisHandOff = "hand-off between 2 processes"
	redisTurns16 = "16 processes taking turns, hand-offs"

	redisCrowd100 = "100 waiters on one name"
	redisHeld     = "10,000 leases held"
	redisWatch    = "put → event in another process"
	redisWatchers = "1,000 watchers in one process"
)

func uncontendedRow(s *redisServer) row {
	by := func(kind string) contender { return cyclesBy(s, kind) }
	return contest{
		what: uncontended, unit: microseconds, ours: by(ourLocker), best: target{atMost: 1.05},
		peers: []rival{
			floor(by(rawRueidis), target{atMost: 1.15}),
			forReference(by(rawGoRedis)),
			competitor(by(redsyncOnGoRedis)),
			competitor(by(redsyncOnRueidis)),
			competitor(by("redislock")),
			competitor(by(rueidislockDefault)),
			competitor(by(rueidislockOfOneMajority)),
		},
	}
}

func manyNamesRow(s *redisServer) row {
	by := func(kind string) contender { return manyBy(s, kind) }
	return contest{
		what: manyNames, unit: perSecond, ours: by(ourLocker), best: target{atLeast: 0.95},
		peers: []rival{
			forReference(by(rawRueidis)), // no library: the floor
			competitor(by(redsyncOnGoRedis)),
			competitor(by(redsyncOnRueidis)),
			competitor(by("redislock")),
			competitor(by(rueidislockDefault)),
			competitor(by(rueidislockOfOneMajority)),
		},
	}
}

func redisHandOffRow(s *redisServer) row {
	by := func(kind string) contender { return redisRelay(s, kind, handOffs) }
	return contest{
		what: redisHandOff, unit: microseconds, ours: by(ourLocker),
		peers: []rival{
			floor(redisRelay(s, publishMessage, handOffs), target{atMost: 1.5}),
			forReference(redisRelay(s, redsyncOnRueidis, 5)), // it sleeps for some 100 ms
			forReference(by(redislockAt1ms)),
			forReference(by(rueidislockDefault)),
		},
	}
}

func redisTurnsRow(s *redisServer) row {
	return comparison{
		what: redisTurns16, unit: perSecond,
		ours:   redisTurnsContender(s, ourLocker, 16),
		peer:   redisTurnsContender(s, redislockAt1ms, 16),
		target: target{atLeast: 1.4},
		also:   alsoTurns(redisTurns16, redislockAt1ms),
	}
}

func redisCrowdOf(s *redisServer) row {
	return redisCrowdRow{
		server: s, what: redisCrowd100, polls: redislockAt1ms,
		peers: []string{redsyncOnRueidis, redsyncAt1ms, redislockAt1ms, rueidislockDefault, rueidislockOfOneMajority},
	}
}

func redisWatchRow(s *redisServer) row {
	return contest{
		what: redisWatch, unit: microseconds, ours: watchRelay(s),
		peers: []rival{forReference(redisRelay(s, publishMessage, handOffs))},
	}
}
