// Command liveconfig has servers follow a configuration: each keeps a local copy, reads
// it for every request without asking anybody, and applies a change as soon as it is
// there. No server is restarted, and none polls.
//
//	go run ./examples/liveconfig
package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/examples/fleet"
)

func main() { fleet.Main(run) }

// servers is how many there are.
const servers = 3

func run(ctx context.Context, m *fleet.Member) error {
	config := m.Client.Map("config")
	view, err := config.View(ctx) // it has the whole map when it returns
	if err != nil {
		return err
	}
	defer view.Close()
	// An operator changes things once all are up. Here it is one of them.
	if err := m.Client.Barrier("up", servers).Wait(ctx); err != nil {
		return err
	}
	operated := make(chan error, 1)
	go func() { operated <- operate(ctx, m, config) }()
	if err := serve(ctx, m, view); err != nil {
		return err
	}
	return <-operated
}

// serve follows the configuration until it says to drain.
func serve(ctx context.Context, m *fleet.Member, view *lockstep.View) error {
	limit := 10
	m.Say("serves with limit %d", limit)
	for {
		changed := view.Changed() // asked for before the reads, so that no change is missed
		if _, drain := view.Get("drain"); drain {
			m.Say("drains, and ends")
			return nil
		}
		if e, ok := view.Get("limit"); ok {
			n, err := strconv.Atoi(string(e.Value))
			switch {
			case err != nil:
				m.Say("keeps limit %d: %v", limit, err) // a bad value breaks nothing
			case n != limit:
				limit = n
				m.Say("serves with limit %d", limit)
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// operate is what an operator does, from anywhere: lockstep put config limit 20.
func operate(ctx context.Context, m *fleet.Member, config *lockstep.Map) error {
	if m.Name != "a" {
		return nil
	}
	for _, change := range []lockstep.Entry{
		{Key: "limit", Value: []byte("20")},
		{Key: "limit", Value: []byte("many")},
		{Key: "limit", Value: []byte("40")},
		{Key: "drain", Value: []byte("yes")},
	} {
		select {
		case <-time.After(200 * time.Millisecond): // so that one can watch it
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		if _, err := config.Put(ctx, change.Key, change.Value); err != nil {
			return fmt.Errorf("operator: %w", err)
		}
	}
	return nil
}
