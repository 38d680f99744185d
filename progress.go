package lockstep

import (
	"context"
	"sync"
)

// follow watches a claim's line and tells progress until stop is called, which
// waits for the last call to return.
func (c *Client) follow(ctx context.Context, cl *claim, progress func(Progress)) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	start := c.clock.now()
	var task sync.WaitGroup
	task.Go(func() {
		for line, err := range c.lines(ctx, cl.Name) {
			if err != nil {
				return
			}
			line.Name = cl.given
			if place := placeOf(line, cl.ID); place > 0 {
				progress(Progress{Name: cl.given, Line: line, Place: place, Waited: c.clock.now().Sub(start)})
			}
		}
	})
	return func() {
		cancel()
		task.Wait()
	}
}

// placeOf is where the claim waits, 1 being next; 0: it does not.
func placeOf(line Line, id ClaimID) int {
	for i, w := range line.Waiters {
		if w.ID == id {
			return i + 1
		}
	}
	return 0
}
