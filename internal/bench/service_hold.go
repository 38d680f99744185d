package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Many leases as in file_hold.go. What is asked of the engine is counted by its
// server.

// heldOf is what is asked for beside memory and goroutines.
type heldOf struct {
	requests target // of their rate
	renewal  string // what one of all leases is, as the server counts
	each     target // of so many a renewal
}

type serviceHoldRow struct {
	server countingServer
	heldOf
}

func (serviceHoldRow) name() string { return held10000 }

func (h serviceHoldRow) measure(b *bench) ([]line, error) {
	n, idle := b.count(heldLeases), b.while(holdFor)
	var above, whole, goroutines, asked, renewals, each []float64
	for range b.count(holdTrials) {
		with, quiet, err := h.hold("lockstep", n, idle)
		if err != nil {
			return nil, err
		}
		without, _, err := h.hold("engine", n, 0)
		if err != nil {
			return nil, err
		}
		above, whole = append(above, with.Bytes-without.Bytes), append(whole, with.Bytes)
		goroutines = append(goroutines, float64(with.Goroutines))
		asked = append(asked, float64(quiet.requests)/idle.Seconds())
		renewals = append(renewals, float64(quiet.seen.Renewals)/idle.Seconds())
		each = append(each, float64(quiet.asked())/float64(max(quiet.seen.Renewals, 1)))
		b.raw("%s\tLockstep %.0f B, the engine alone %.0f B a lease; %d goroutines; in %v %d requests, %d renewals",
			held10000, with.Bytes, without.Bytes, with.Goroutines, idle, quiet.requests, quiet.seen.Renewals)
	}
	what := held10000 + ": "
	return []line{
		figure(what+"heap + stack a lease, above the engine's", above, bytesEach, target{atMost: 1024, unit: " B"}),
		figure(what+"heap + stack a lease, the engine's among it", whole, bytesEach, target{}),
		figure(what+"goroutines for all of them", goroutines, plain, target{zero: true}),
		figure(what+"requests while only holding", asked, perSecond, h.requests),
		figure(what+"renewals of all of them", renewals, perSecond, target{}),
		figure(what+h.renewal+" a renewal", each, plain, h.each),
	}, nil
}

// hold has a process hold so many, and says what was asked while it did nothing else.
func (h serviceHoldRow) hold(kind string, n int, idle time.Duration) (held heldReport, quiet account, err error) {
	p, err := start("service-hold", job{URL: h.server.URL(), Kind: kind, N: n})
	if err != nil {
		return held, quiet, err
	}
	defer func() { err = errors.Join(err, p.close(), h.server.clear()) }()
	if _, err := p.ask(order{Do: "take"}); err != nil {
		return held, quiet, err
	}
	seen := func() (counts, error) {
		r, err := p.ask(order{Do: "count"})
		return r.Seen, err
	}
	began, err := audit(h.server, sends(), seen, true)
	if err != nil {
		return held, quiet, err
	}
	time.Sleep(idle)
	ended, err := audit(h.server, sends(), seen, true)
	if err != nil {
		return held, quiet, err
	}
	r, err := p.ask(order{Do: "weigh"})
	return r.Held, ended.minus(began), err
}

// serviceHoldRole takes as file_hold.go's does, from another engine.
type serviceHoldRole struct{ *holdRole }

func newServiceHold(j job) (worker, error) {
	e, err := serviceEngine(j.URL)
	if err != nil {
		return nil, err
	}
	h := serviceHoldRole{&holdRole{job: j}}
	switch j.Kind {
	case "lockstep":
		h.client, err = newClient(e, countRenewals())
	case "engine":
		if h.bare, err = newBare(e); err == nil {
			h.bare.session = longIDs{h.bare.session, new(int)}
		}
	default:
		err = errors.Join(fmt.Errorf("nobody holds by %q", j.Kind), e.Close())
	}
	return h, err
}

func (h serviceHoldRole) obey(o order) (report, error) {
	switch o.Do {
	case "count":
		return report{Seen: counts{Renewals: renewed.Load()}}, nil
	case "weigh":
		return h.weigh()
	}
	return h.holdRole.obey(o)
}

func (h serviceHoldRole) weigh() (report, error) {
	if h.bare != nil {
		if err := h.renewAll(); err != nil {
			return report{}, err
		}
	}
	r := heldReport{
		Bytes:      (float64(inUse()) - float64(h.bytes)) / float64(h.job.N),
		Goroutines: max(0, runtime.NumGoroutine()-h.goroutines), // one of before may have ended
	}
	runtime.KeepAlive(h.leases)
	return report{Held: r}, nil
}

// longIDs makes ids as long as the core's: services take no others.
type longIDs struct {
	engine.Session

	made *int
}

func (s longIDs) Acquire(ctx context.Context, c *engine.Claim, try bool) (engine.Grant, error) {
	c.ID = longID(strings.TrimPrefix(string(c.ID), "claim-"))
	// A session that nobody renews ends, and one that is renewed without its claims has
	// them removed.
	if *s.made++; *s.made%500 == 0 {
		if _, err := s.Renew(ctx, longClaims(*s.made-1)); err != nil {
			return engine.Grant{}, err
		}
	}
	return s.Session.Acquire(ctx, c, try)
}

func longID(number string) engine.ClaimID {
	return engine.ClaimID("claim" + strings.Repeat("0", 21-len(number)) + number)
}

// longClaims are the first n that were made.
func longClaims(n int) []*engine.Claim {
	claims := make([]*engine.Claim, n)
	for i := range claims {
		claims[i] = &engine.Claim{
			ID: longID(strconv.Itoa(i + 2)), Name: "held/" + strconv.Itoa(i), Kind: engine.Mutex, Shares: 1, Limit: 1,
		}
	}
	return claims
}

// renewAll is the core's part, as in file_hold.go; a service finds a claim by
// its name.
func (h serviceHoldRole) renewAll() error {
	r, err := h.bare.session.Renew(context.Background(), longClaims(h.job.N))
	if err == nil && len(r.Lost)+len(r.Unsure) > 0 {
		err = fmt.Errorf("%d leases of the engine's are lost, %d unsure", len(r.Lost), len(r.Unsure))
	}
	return err
}
