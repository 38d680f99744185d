package main

// etcdTable is one etcd server that syncs its log. The peer is its own client's
// concurrency.Mutex. What the rows do is as on Redis.
func etcdTable() table {
	return service{
		name:   "etcd",
		start:  func(*bench) (countingServer, error) { return startEtcd() },
		cycles: syncedCycles, span: syncedSpan,
		uncontended: match{
			ours: ourLocker, best: target{atMost: 1},
			peers: []rival{competitor(etcdMutex), forReference(rawEtcd)},
		},
		manyNames: match{
			ours: ourLocker, best: target{atLeast: 1.1},
			peers: []rival{competitor(etcdMutex), forReference(rawEtcd)},
		},
		handedOver: match{
			ours: ourLocker, best: target{atMost: 0.05},
			peers: []rival{floor(rawDeleteEvent, target{atMost: 1.3}), competitor(etcdMutex)},
		},
		turns:      turnsOf{peer: etcdMutex, floor: rawEtcdRing, target: target{atLeast: 10}, longest: longestWait},
		crowd:      crowdOf{peers: []rival{forReference(etcdMutex)}, handOff: target{atMost: 3}, renewal: 4, pushed: true},
		held:       heldOf{renewal: "keep-alives, ends of their streams, reads and audits", each: target{atMost: 4}},
		putToEvent: match{ours: ourLocker, peers: []rival{forReference(rawPutEvent)}},
		watchers:   watchesOf{what: "watches at the server: of the map", target: target{atMost: 1}},
	}.table()
}
