package lockstep_test

import (
	"context"
	"fmt"
)

func ExampleGroup() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()
	g := c.Group("workers")

	member, err := g.Join(ctx, "host-7", []byte("10.0.0.7:80"))
	if err != nil {
		fmt.Println(err)
		return
	}
	for members, err := range g.Watch(ctx) {
		if err != nil || len(members) == 0 {
			fmt.Println("nobody is left:", err)
			return
		}
		for _, m := range members {
			fmt.Printf("%s at %s\n", m.ID, m.Data)
		}
		member.Leave(ctx)
	}
	// Output:
	// host-7 at 10.0.0.7:80
	// nobody is left: <nil>
}
