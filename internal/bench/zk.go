package main

// zkTable is one ZooKeeper server that syncs its log, as they do by default. The peer
// is go-zookeeper's own Lock, over the same client library. What the rows do is as on
// Redis.
func zkTable() table {
	return service{
		name:   "zk",
		start:  func(*bench) (countingServer, error) { return startZK() },
		cycles: syncedCycles, span: syncedSpan,
		uncontended: match{
			ours: ourLocker, best: target{atMost: 1},
			peers: []rival{competitor(goZKLock), forReference(rawZK)},
		},
		manyNames: match{
			ours: ourLocker, best: target{atLeast: 1.2},
			peers: []rival{competitor(goZKLock), forReference(rawZK)},
		},
		handedOver: match{
			ours: ourLocker, best: target{atMost: 1.1},
			peers: []rival{competitor(goZKLock)},
		},
		turns:      turnsOf{peer: goZKLock, target: target{atLeast: 0.9}, longest: longestWait},
		crowd:      crowdOf{peers: []rival{forReference(goZKLock)}, handOff: target{atMost: 3}, renewal: 1, pings: "pings and reads", pushed: true},
		held:       heldOf{renewal: "writes", each: target{atMost: 1}},
		putToEvent: match{ours: ourLocker, peers: []rival{forReference(rawSetEvent)}},
		watchers: watchesOf{
			what:   "watches at the server: of the map's node its children and its data, and of its one key",
			target: target{atMost: 3},
		},
	}.table()
}
