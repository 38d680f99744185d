package gocronlock

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/go-co-op/gocron/v2"

	"github.com/lockstep-go/lockstep"
)

// ErrNotLeader: another program leads, or none does now.
var ErrNotLeader = errors.New("this program does not lead")

// Elector campaigns for as long as it is open, and lets its scheduler run jobs while
// it leads. A job that began goes on where the lead is lost in the middle of it;
// where that matters, use [NewLocker].
type Elector struct {
	lead   atomic.Pointer[lockstep.Leadership]
	cancel context.CancelFunc
	task   sync.WaitGroup
	err    error // why the campaign ended; read after task
	ended  chan struct{}
}

var _ gocron.Elector = (*Elector)(nil)

// NewElector campaigns in the election of that name, in the background; value is what
// others see of the leader. Close it before its client.
func NewElector(c *lockstep.Client, name, value string) *Elector {
	ctx, cancel := context.WithCancel(context.Background())
	e := &Elector{cancel: cancel, ended: make(chan struct{})}
	e.task.Go(func() {
		defer close(e.ended)
		e.err = c.Election(name).Run(ctx, value, func(ctx context.Context) error {
			e.lead.Store(lockstep.LeadershipFrom(ctx))
			defer e.lead.Store(nil)
			<-ctx.Done()
			return context.Cause(ctx)
		})
	})
	return e
}

// IsLeader is nil while this program leads. It asks nobody: the lead is trusted for its
// window. [ErrNotLeader], with the reason where the campaign has ended for good.
func (e *Elector) IsLeader(context.Context) error {
	lead := e.lead.Load()
	if lead != nil && lead.Err() == nil {
		return nil
	}
	select {
	case <-e.ended:
		return errors.Join(ErrNotLeader, e.err)
	default:
		return ErrNotLeader
	}
}

// Close resigns and ends the campaign, and waits for both.
func (e *Elector) Close() error {
	e.cancel()
	e.task.Wait()
	return nil
}
