// Command rollout has a fleet vote before a new version is rolled out: every host looks
// whether it could run it, and only if all say yes do they roll it out, one after
// another. Whoever crashes in the middle, all that are left have the same decision.
//
//	go run ./examples/rollout
package main

import (
	"context"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/examples/fleet"
)

func main() { fleet.Main(run) }

func run(ctx context.Context, m *fleet.Member) error {
	h := &host{m, "v1"}
	for _, version := range []string{"v2", "v3"} {
		if err := h.consider(ctx, version); err != nil {
			return err
		}
	}
	m.Say("runs %s", h.version)
	return nil
}

type host struct {
	*fleet.Member

	version string
}

// fits is this host's own look at a version. Host c has no room for v3.
func (h *host) fits(version string) bool { return version != "v3" || h.Name != "c" }

// consider votes on a version and does what was decided.
func (h *host) consider(ctx context.Context, version string) error {
	choice := "no"
	if h.fits(version) {
		choice = "yes"
	}
	decision, err := h.decide(ctx, version, choice)
	for fleet.Again(ctx, err) {
		decision, err = h.decide(ctx, version, choice)
	}
	switch {
	case err != nil:
		return err
	case !decision.Carried || decision.Choice != "yes":
		h.Say("stays with %s: %s was not agreed on", h.version, version)
		return nil
	}
	return h.rollOut(ctx, version)
}

// decide votes, which counts once, and waits for what is decided.
func (h *host) decide(ctx context.Context, version, choice string) (lockstep.Decision, error) {
	vote := h.Client.Ballot("rollout/"+version, lockstep.NamedVoters("a", "b", "c")).
		Rule(lockstep.RuleAll).
		Deadline(time.Minute) // a host that is down must not hold up the fleet for ever
	if _, err := vote.Vote(ctx, h.Name, choice); err != nil {
		return lockstep.Decision{}, err
	}
	h.Say("votes %s on %s", choice, version)
	return vote.Decision(ctx)
}

// rollOut changes the version while no other host does.
func (h *host) rollOut(ctx context.Context, version string) error {
	return h.Client.Mutex("rollout").Do(ctx, func(ctx context.Context) error {
		h.Say("stops %s", h.version)
		select {
		case <-time.After(50 * time.Millisecond): // the work
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		h.version = version
		h.Say("has started %s", h.version)
		return nil
	})
}
