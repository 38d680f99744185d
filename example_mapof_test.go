package lockstep_test

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/lockstep-go/lockstep"
)

func ExampleMapOf() {
	type Limits struct {
		Rate  int
		Burst int
	}
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()

	m := lockstep.MapOf[Limits](c, "limits")
	m.Put(ctx, "free", Limits{Rate: 10, Burst: 20})
	// Whoever changes it at the same time, no change is lost.
	now, err := m.Update(ctx, "free", func(old Limits) (Limits, error) {
		old.Rate *= 2
		return old, nil
	})
	fmt.Printf("%+v %v\n", now, err)
	// Output: {Rate:20 Burst:20} <nil>
}

func ExampleValueOf() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()

	// As text, it is what other programs write there as well.
	primary := lockstep.ValueOf[netip.AddrPort](c, "/db/primary", lockstep.Text)
	c.Value("/db/primary").Put(ctx, []byte("10.0.0.1:5432"))
	addr, _, err := primary.Get(ctx)
	fmt.Println(addr.Port(), err)
	// Output: 5432 <nil>
}
