package memengine

import (
	"context"
	"fmt"

	"github.com/lockstep-go/lockstep/engine"
)

// Driver opens "mem:". Each Open is a service of its own that ends with it:
// a name means nothing outside one client, and none can wait for another's.
var Driver engine.Driver = driver{}

type driver struct{}

func (driver) Schemes() []string { return []string{"mem"} }

// Open takes no parameter, host, path or user: ErrInvalid.
func (driver) Open(ctx context.Context, t engine.Target) (engine.Engine, error) {
	if err := t.CheckParams(); err != nil {
		return nil, err
	}
	if len(t.Hosts) > 0 || t.Path != "" || t.User != "" || t.Password != "" {
		return nil, fmt.Errorf("%w: mem: takes no host, path or user: it is inside the process", engine.ErrInvalid)
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return New(), nil
}
