package lockstep_test

import (
	"context"
	"fmt"
	"log"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/memengine"
)

// memory is a client for examples: a program has the URL of its engine instead.
func memory(ctx context.Context) *lockstep.Client {
	c, err := lockstep.Open(ctx, "mem:", memengine.Driver)
	if err != nil {
		log.Fatal(err)
	}
	return c
}

func ExampleElection_Run() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()

	// Every copy of the program runs this; one of them at a time is inside.
	err := c.Election("scheduler").Run(ctx, "host-7", func(ctx context.Context) error {
		fmt.Println("leading:", lockstep.TokenFrom(ctx) > 0)
		return nil // or work until ctx ends: the lead is lost then, or not wanted any more
	})
	fmt.Println(err)
	// Output:
	// leading: true
	// <nil>
}

func ExampleElection_Observe() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()
	e := c.Election("scheduler")
	lead, err := e.Campaign(ctx, "host-7")
	if err != nil {
		fmt.Println(err)
		return
	}

	shown := 0
	for leader, err := range e.Observe(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		shown++
		switch {
		case leader.Vacant():
			fmt.Println("nobody leads")
			return
		case shown == 1:
			fmt.Println(leader.Value, "leads")
			lead.Proclaim(ctx, "host-7, draining")
		default:
			fmt.Println(leader.Value)
			lead.Release(ctx)
		}
	}
	// Output:
	// host-7 leads
	// host-7, draining
	// nobody leads
}
