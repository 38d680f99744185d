package redlock

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/redlock/internal/vote"
)

// The doctor examines each node as that of one Redis does, and says once what is so
// at several; and then what they are together: whether they are different servers,
// how many may be lost, how far their clocks are apart, and who does not vote yet.

var (
	_ engine.Doctor       = (*Engine)(nil)
	_ engine.DoctorDriver = redlockDriver{}
)

// clockWatch is for how long each node's clock is watched.
const clockWatch = time.Second

// Examine looks at what makes these nodes unsafe for locks. It takes a second, in which
// it watches their clocks.
func (e *Engine) Examine(ctx context.Context) ([]engine.Finding, error) {
	if e.isOver() {
		return nil, errClosed
	}
	return e.examine(ctx)
}

// Examine connects and examines, also where too few nodes answer for Open.
func (redlockDriver) Examine(ctx context.Context, t engine.Target) ([]engine.Finding, error) {
	opts, err := optionsOf(t)
	if err != nil {
		return nil, err
	}
	ts, err := transports(ctx, t)
	if err != nil {
		return nil, err
	}
	e, err := newEngine(ts, opts)
	if err != nil {
		for _, t := range ts {
			err = errors.Join(err, t.Close())
		}
		return nil, err
	}
	findings, err := e.examine(ctx)
	return findings, errors.Join(err, e.Close())
}

// patient is what one node came to.
type patient struct {
	node     int
	findings []engine.Finding
	info     map[string]string
	offset   time.Duration // of its clock to ours
	trip     time.Duration
	err      error
}

func (e *Engine) examine(ctx context.Context) ([]engine.Finding, error) {
	done := make(chan *patient, len(e.nodes))
	for i, n := range e.nodes {
		if !e.aside(func() { done <- e.examineNode(ctx, i, n) }) {
			return nil, errClosed
		}
	}
	all := make([]*patient, len(e.nodes))
	var errs []error
	for range all {
		p := <-done // every request of it obeys ctx
		all[p.node] = p
		if p.err != nil {
			errs = append(errs, e.blame(p.node, p.err))
		}
	}
	if len(errs) == len(all) || ctx.Err() != nil {
		return nil, errors.Join(append(errs, ctx.Err())...)
	}
	x := &examination{e: e, all: all}
	x.reached()
	x.count()
	x.different()
	x.clocks()
	x.uptimes()
	x.single()
	slices.SortStableFunc(x.findings, func(a, b engine.Finding) int { return int(b.Level) - int(a.Level) })
	return x.findings, nil
}

func (e *Engine) examineNode(ctx context.Context, i int, n *node) *patient {
	p := &patient{node: i}
	limited, cancel := context.WithTimeout(ctx, greetTimeout+clockWatch)
	defer cancel()
	sent := time.Now()
	results := n.t.Do(limited, redisengine.Command{Args: []string{"TIME"}}, redisengine.Command{Args: []string{"INFO", "server"}})
	p.trip = time.Since(sent)
	if p.err = worst(results, nil); p.err != nil {
		return p
	}
	if now := (reply{results[0].Value}); now.len() == 2 {
		server := time.Unix(parseInt(now.text(0)), parseInt(now.text(1))*int64(time.Microsecond))
		p.offset = server.Sub(sent.Round(0).Add(p.trip / 2))
	}
	text, _ := results[1].Value.(string)
	p.info = make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			p.info[name] = value
		}
	}
	p.findings, p.err = redisengine.ExamineNode(limited, n.t, e.opts.prefix, clockWatch)
	return p
}

// examination is one look at all nodes.
type examination struct {
	e        *Engine
	all      []*patient
	findings []engine.Finding
}

func (x *examination) say(level engine.Level, what, why, fix string) {
	x.findings = append(x.findings, engine.Finding{Level: level, What: what, Why: why, Fix: fix})
}

func (x *examination) well() (well []*patient) {
	for _, p := range x.all {
		if p.err == nil {
			well = append(well, p)
		}
	}
	return well
}

// reached: who cannot be asked.
func (x *examination) reached() {
	well := x.well()
	level := engine.LevelWarning
	if len(well) < vote.Majority(len(x.all)) {
		level = engine.LevelDanger
	}
	for _, p := range x.all {
		if p.err != nil {
			x.say(level, fmt.Sprintf("node %s cannot be examined: %v", x.e.nodes[p.node].name, p.err),
				fmt.Sprintf("%d of %d nodes answer, and a majority is %d.", len(well), len(x.all), vote.Majority(len(x.all))), "")
		}
	}
	if len(well) == len(x.all) {
		x.say(engine.LevelOK, fmt.Sprintf("all %d nodes answer", len(x.all)), "", "")
	}
}

// count: how many may be lost.
func (x *examination) count() {
	n := len(x.all)
	spare := n - vote.Majority(n)
	switch {
	case n < 3:
		x.say(engine.LevelWarning, fmt.Sprintf("%d nodes survive the loss of none", n),
			"While one is away, nothing can be locked.", "Use three nodes, or five.")
	case n%2 == 0:
		x.say(engine.LevelNote, fmt.Sprintf("%d nodes survive the loss of %d, as %d do", n, spare, n-1), "", "Use an odd number of nodes.")
	default:
		x.say(engine.LevelOK, fmt.Sprintf("%d nodes survive the loss of %d", n, spare), "", "")
	}
}

// different: one server under two names has two votes.
func (x *examination) different() {
	seen := make(map[string]string)
	for _, p := range x.well() {
		id, name := p.info["run_id"], x.e.nodes[p.node].name
		if other, twice := seen[id]; twice && id != "" {
			x.say(engine.LevelDanger, fmt.Sprintf("nodes %s and %s are one server", other, name),
				"It has two votes, and its loss is the loss of two.", "Name each server once.")
		}
		seen[id] = name
	}
}

// clocks: counts begin with the clock where they were lost.
func (x *examination) clocks() {
	well := x.well()
	if len(well) < 2 {
		return
	}
	least, most, trip := well[0], well[0], time.Duration(0)
	for _, p := range well {
		trip = max(trip, p.trip)
		if p.offset < least.offset {
			least = p
		}
		if p.offset > most.offset {
			most = p
		}
	}
	apart := (most.offset - least.offset).Round(time.Millisecond)
	what := fmt.Sprintf("clocks of the nodes are %v apart, give or take %v", apart, trip.Round(time.Millisecond))
	switch {
	case apart >= x.e.opts.maxTTL:
		x.say(engine.LevelDanger, what+fmt.Sprintf(" (%s is ahead of %s)", x.e.nodes[most.node].name, x.e.nodes[least.node].name),
			"A node that loses its data counts from its clock. One that is so far behind the others may bring tokens back.",
			"Have the clocks of all nodes follow one time (chrony, ntpd), slewed and never stepped.")
	case apart >= time.Second:
		x.say(engine.LevelNote, what, "Nodes count from their clocks, so tokens of the first grants on a name take a second round.",
			"Have the clocks of all nodes follow one time (chrony, ntpd).")
	default:
		x.say(engine.LevelOK, what, "", "")
	}
}

// uptimes: who restarted within the longest TTL, and what is too old.
func (x *examination) uptimes() {
	for _, p := range x.well() {
		name := x.e.nodes[p.node].name
		if major, _, _ := strings.Cut(p.info["redis_version"], "."); major != "" {
			if n, err := strconv.Atoi(major); err == nil && n < 7 {
				x.say(engine.LevelDanger, fmt.Sprintf("node %s is version %s: it takes no part", name, p.info["redis_version"]),
					"Only from 7 on does a restart forget scripts, by which a node that forgot its votes is known.", "Upgrade it.")
			}
		}
		seconds, err := strconv.ParseInt(p.info["uptime_in_seconds"], 10, 64)
		if err != nil {
			x.say(engine.LevelDanger, fmt.Sprintf("how long node %s has run could not be learned", name),
				"A node votes only where it may be asked: scripts send INFO.", "Permit +info, +watch, +multi, +exec and +script|load.")
			continue
		}
		if left := x.e.opts.mustHaveRun() - seconds; left > 0 {
			x.say(engine.LevelWarning, fmt.Sprintf("node %s has run for %v, and takes part in %v", name,
				time.Duration(seconds)*time.Second, time.Duration(left)*time.Second),
				"It may have forgotten votes that still count, and is kept out for the longest TTL.", "")
		}
	}
}

// single is what is so of each node, said once for all at which it is.
func (x *examination) single() {
	type group struct {
		finding engine.Finding
		names   []string
	}
	var groups []*group
	for _, p := range x.all {
	next:
		for _, f := range p.findings {
			for _, g := range groups {
				if g.finding == f {
					g.names = append(g.names, x.e.nodes[p.node].name)
					continue next
				}
			}
			groups = append(groups, &group{f, []string{x.e.nodes[p.node].name}})
		}
	}
	for _, g := range groups {
		where := "node " + g.names[0]
		switch {
		case len(g.names) == len(x.all):
			where = "every node"
		case len(g.names) > 1:
			where = "nodes " + strings.Join(g.names, ", ")
		}
		g.finding.What = where + ": " + g.finding.What
		x.findings = append(x.findings, g.finding)
	}
}
