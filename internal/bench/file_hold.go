package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
)

// What it costs to hold many leases: memory, goroutines, and what the engine is
// asked while nothing happens. Each measurement has a process of its own, whose
// heap nobody else has used. The engine's own part is measured the same way,
// with claims made past the core, and taken off.

const (
	heldLeases = 10_000
	holdFor    = 10 * time.Second // of idle holding: some renewals at the default TTL
	holdTrials = 3
)

// heldReport is what one process saw.
type heldReport struct {
	Bytes      float64 // heap and stack, per lease
	Goroutines int     // beyond those of a client with one lease
}

// counts is what was asked of the engine of one process since it was opened.
type counts struct {
	Transactions, Reads, Renewals int64
	Done                          int // Locks that came to an end
}

func (a counts) minus(b counts) counts {
	return counts{a.Transactions - b.Transactions, a.Reads - b.Reads, a.Renewals - b.Renewals, a.Done - b.Done}
}

func (a counts) plus(b counts) counts {
	return counts{a.Transactions + b.Transactions, a.Reads + b.Reads, a.Renewals + b.Renewals, a.Done + b.Done}
}

type holdRow struct{}

func (holdRow) name() string { return held10000 }

func (h holdRow) measure(b *bench) ([]line, error) {
	n, idle := b.count(heldLeases), b.while(holdFor)
	var above, goroutines, transactions, renewals, reads []float64
	for range b.count(holdTrials) {
		with, quiet, err := hold(b, "lockstep", n, idle)
		if err != nil {
			return nil, err
		}
		without, _, err := hold(b, "engine", n, 0)
		if err != nil {
			return nil, err
		}
		above = append(above, with.Bytes-without.Bytes)
		goroutines = append(goroutines, float64(with.Goroutines))
		transactions = append(transactions, float64(quiet.Transactions)/idle.Seconds())
		renewals = append(renewals, float64(quiet.Renewals)/idle.Seconds())
		reads = append(reads, float64(quiet.Reads)/idle.Seconds())
		b.raw("%s\tLockstep %.0f B, the engine alone %.0f B a lease; %d goroutines; in %v %d transactions, %d renewals, %d reads",
			h.name(), with.Bytes, without.Bytes, with.Goroutines, idle, quiet.Transactions, quiet.Renewals, quiet.Reads)
	}
	what := h.name() + ": "
	return []line{
		figure(what+"heap + stack a lease, above the engine's", above, bytesEach, target{atMost: 1024, unit: " B"}),
		figure(what+"goroutines for all of them", goroutines, plain, target{zero: true}),
		figure(what+"transactions while only holding", transactions, perSecond, target{zero: true}),
		figure(what+"renewal requests (one for all leases)", renewals, perSecond, target{atMost: 50, unit: "/s"}),
		figure(what+"reads of the database", reads, perSecond, target{}),
	}, nil
}

// figure is a line without a peer. The worst sample is what the target judges:
// such counts do not scatter with the load of the machine.
func figure(what string, samples []float64, u unit, t target) line {
	return line{what: what, ours: u.format(median(samples)), target: t, got: slices.Max(samples)}
}

func hold(b *bench, kind string, n int, idle time.Duration) (held heldReport, quiet counts, err error) {
	dir, err := b.folder("hold")
	if err != nil {
		return held, quiet, err
	}
	p, err := start("hold", job{Dir: dir, Kind: kind, N: n})
	if err != nil {
		return held, quiet, err
	}
	defer func() { err = errors.Join(err, p.close()) }()
	if _, err := p.ask(order{Do: "take"}); err != nil {
		return held, quiet, err
	}
	before, err := p.ask(order{Do: "count"})
	if err != nil {
		return held, quiet, err
	}
	time.Sleep(idle)
	after, err := p.ask(order{Do: "count"})
	if err != nil {
		return held, quiet, err
	}
	r, err := p.ask(order{Do: "weigh"})
	return r.Held, after.Seen.minus(before.Seen), err
}

// The process.

type holdRole struct {
	job    job
	engine *sqliteengine.Engine
	client *client
	bare   *bare

	leases   []*lockstep.Lease
	renewals atomic.Int64

	bytes      uint64 // before the leases
	goroutines int
}

func newHoldRole(j job) (worker, error) {
	e, err := fileEngine(j.Dir)
	if err != nil {
		return nil, err
	}
	h := &holdRole{job: j, engine: e}
	switch j.Kind {
	case "lockstep":
		h.client, err = newClient(e, lockstep.WithObserver(lockstep.Observer{
			Renewed: func(int, time.Duration) { h.renewals.Add(1) },
		}))
	case "engine":
		h.bare, err = newBare(e)
	default:
		err = errors.Join(fmt.Errorf("nobody holds by %q", j.Kind), e.Close())
	}
	return h, err
}

func (h *holdRole) obey(o order) (report, error) {
	switch o.Do {
	case "take":
		return report{}, h.take()
	case "count":
		return report{Seen: counts{Transactions: h.engine.Transactions(), Reads: h.engine.Reads(), Renewals: h.renewals.Load()}}, nil
	case "weigh":
		return h.weigh()
	}
	return report{}, fmt.Errorf("no order %q", o.Do)
}

// take holds one name, so that all is there that a client has once, and then
// the others. Names and leases are in memory that the caller pays for.
func (h *holdRole) take() error {
	names := make([]string, h.job.N)
	for i := range names {
		names[i] = "held/" + strconv.Itoa(i)
	}
	h.leases = make([]*lockstep.Lease, 0, len(names)+1)
	if err := h.hold("first"); err != nil {
		return err
	}
	h.bytes, h.goroutines = inUse(), runtime.NumGoroutine()
	for _, name := range names {
		if err := h.hold(name); err != nil {
			return err
		}
	}
	runtime.KeepAlive(names)
	return nil
}

func (h *holdRole) hold(name string) error {
	if h.bare != nil {
		// The claim is the core's; the engine keeps of it what it needs.
		_, err := h.bare.session.Acquire(context.Background(), h.bare.claim(name), false)
		return err
	}
	lease, err := h.client.Mutex(name).Lock(context.Background())
	h.leases = append(h.leases, lease)
	return err
}

func (h *holdRole) weigh() (report, error) {
	if h.bare != nil {
		if err := h.renewAll(); err != nil {
			return report{}, err
		}
	}
	bytes := inUse()
	r := heldReport{
		Bytes:      (float64(bytes) - float64(h.bytes)) / float64(h.job.N),
		Goroutines: max(0, runtime.NumGoroutine()-h.goroutines), // one of before may have ended
	}
	runtime.KeepAlive(h.leases)
	return report{Held: r}, nil
}

// renewAll does for the engine alone what the core has done meanwhile: the
// engine may keep something of a grant until it was renewed.
func (h *holdRole) renewAll() error {
	claims := make([]*engine.Claim, 0, h.bare.made)
	for i := range h.bare.made {
		claims = append(claims, &engine.Claim{ID: engine.ClaimID("claim-" + strconv.Itoa(i+1)), Kind: engine.Mutex, Shares: 1, Limit: 1})
	}
	_, err := h.bare.session.Renew(context.Background(), claims)
	return err
}

// inUse is heap and stacks in bytes, without garbage. Two collections: what a
// pool holds survives the first.
func inUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

func (h *holdRole) close() error {
	if h.bare != nil {
		return h.bare.close()
	}
	return h.client.close()
}
