package main

// redisTable is one Redis. Peers on it are many, and all do less: none of their
// locks has a token or a line.
func redisTable() table {
	libraries := []rival{
		competitor(redsyncOnGoRedis),
		competitor(redsyncOnRueidis),
		competitor(redislockDefault),
		competitor(rueidislockDefault),
		competitor(rueidislockOfOneMajority),
	}
	return service{
		name:   "redis",
		start:  func(*bench) (countingServer, error) { return startRedis() },
		cycles: lockCycles, span: lockSpan,
		uncontended: match{
			ours: ourLocker, best: target{atMost: 1.05},
			peers: append([]rival{floor(rawRueidis, target{atMost: 1.15}), forReference(rawGoRedis)}, libraries...),
		},
		manyNames: match{
			ours: ourLocker, best: target{atLeast: 0.95},
			peers: append([]rival{forReference(rawRueidis), forReference(rawGoRedis)}, libraries...), // no libraries: the floor
		},
		handedOver: match{ours: ourLocker, peers: []rival{
			floor(publishMessage, target{atMost: 1.5}),
			{kind: redsyncOnRueidis, handOffs: 5}, // it sleeps for some 100 ms
			forReference(redislockAt1ms),
			forReference(rueidislockDefault),
		}},
		turns: turnsOf{peer: redislockAt1ms, target: target{atLeast: 1.4}},
		crowd: crowdOf{
			peers: []rival{
				forReference(redsyncOnRueidis),
				forReference(redsyncAt1ms),
				floor(redislockAt1ms, target{atMost: 0.1}),
				forReference(rueidislockDefault),
				forReference(rueidislockOfOneMajority),
			},
			handOff: target{atMost: 2}, renewal: 1, pings: "PINGs on silent connections",
		},
		held:       heldOf{requests: target{atMost: 50, unit: "/s"}, renewal: "requests, in batches of leases,"},
		putToEvent: match{ours: ourLocker, peers: []rival{forReference(publishMessage)}},
		watchers:   watchesOf{what: "subscriptions at the server", target: target{atMost: 1}},
	}.table()
}
