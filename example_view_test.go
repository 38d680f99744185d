package lockstep_test

import (
	"context"
	"fmt"
)

func ExampleMap_View() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()
	m := c.Map("config")
	m.Put(ctx, "limit", []byte("10"))

	v, err := m.View(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer v.Close()
	limit, _ := v.Get("limit") // asks nobody: as often as you like
	fmt.Printf("limit %s\n", limit.Value)

	changed := v.Changed()
	revision, _ := m.Put(ctx, "limit", []byte("20")) // by whatever program
	<-changed
	v.WaitFor(ctx, revision)
	limit, _ = v.Get("limit")
	fmt.Printf("limit %s, follows: %v\n", limit.Value, v.Synced())
	// Output:
	// limit 10
	// limit 20, follows: true
}
