package main

import "fmt"

// redisCrowdLines are what ours asked of a Redis and why, beside each of the others.
func redisCrowdLines(ours crowdCost, peers []crowdCost) (lines []line) {
	what := crowdOf100 + ": "
	one := func(name string, v float64, u unit, t target) {
		lines = append(lines, line{what: what + name, ours: u.format(v), target: t, got: v})
	}
	against := func(name string, u unit, of func(crowdCost) float64, targets map[string]target) {
		for _, p := range peers {
			l := line{what: what + name, ours: u.format(of(ours)), peer: p.name(), theirs: u.format(of(p)), target: targets[p.kind]}
			if of(p) > 0 { // a smoke run's peer may not have asked at all
				l.got = of(ours) / of(p)
				l.ratio = fmt.Sprintf("%.3f", l.got)
			}
			lines = append(lines, l)
		}
	}
	const handOff, waiting = "requests a hand-off", "requests while all only wait"
	one(handOff, ours.handOff, plain, target{atMost: 2})
	against(handOff, plain, func(c crowdCost) float64 { return c.handOff }, nil)
	against(waiting, perSecond, func(c crowdCost) float64 { return c.waiting }, map[string]target{redislockAt1ms: {atMost: 0.1}})
	one("of these, renewals", ours.renewals, perSecond, target{})
	one("of these, PINGs on silent connections", ours.pings, perSecond, target{})
	one("of these, anything else", ours.beyond, perSecond, target{zero: true})
	return lines
}
