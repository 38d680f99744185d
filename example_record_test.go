package lockstep_test

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep"
)

func ExampleCounter() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()

	hits := c.Counter("hits")
	hits.Add(ctx, 40)
	sum, err := hits.Add(ctx, 2)
	fmt.Println(sum, err)
	for range 2 { // who does not know whether its addition was made asks again
		err = hits.AddAs(ctx, "order 7", 100)
	}
	sum, _ = hits.Get(ctx)
	fmt.Println(sum, err)
	// Output:
	// 42 <nil>
	// 142 <nil>
}

func ExampleLatch() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()

	caches := c.Latch("caches are warm", 2)
	for range 2 {
		go caches.CountDown(ctx) // each worker, when it is ready
	}
	fmt.Println(caches.Wait(ctx))
	left, err := caches.Left(ctx)
	fmt.Println(left, err)
	// Output:
	// <nil>
	// 0 <nil>
}

func ExampleOnce() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()

	migrate := c.Once("migrate to 42").Keep(7 * 24 * time.Hour)
	for range 3 { // each program of the fleet
		result, err := migrate.Do(ctx, func(ctx context.Context) ([]byte, error) {
			fmt.Println("migrating, with a token:", lockstep.TokenFrom(ctx) > 0)
			return []byte("812 rows"), nil
		})
		fmt.Println(string(result), err)
	}
	// Output:
	// migrating, with a token: true
	// 812 rows <nil>
	// 812 rows <nil>
	// 812 rows <nil>
}

func ExampleBallot() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()

	rollout := c.Ballot("roll out 7.1", lockstep.NamedVoters("a", "b", "c")).Deadline(time.Minute)
	rollout.Vote(ctx, "a", "go")
	rollout.Vote(ctx, "b", "go")
	counts, err := rollout.Vote(ctx, "a", "wait") // its first choice counts
	fmt.Println(counts, err)
	d, err := rollout.Decision(ctx)
	fmt.Println(d.Carried, d.Choice, err)
	// Output:
	// go <nil>
	// true go <nil>
}

func ExampleBarrier() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()

	var workers sync.WaitGroup
	done := make(chan uint64, 3)
	for range 3 {
		workers.Go(func() {
			stay, err := c.Barrier("phase of a batch", 3).Enter(ctx) // nobody begins before all are here
			if err != nil {
				fmt.Println(err)
				return
			}
			done <- stay.Phase()
			stay.Leave(ctx) // and nobody goes on before all are done, or dead
		})
	}
	workers.Wait()
	fmt.Println(<-done, <-done, <-done)
	// Output: 1 1 1
}

func ExampleTicks() {
	ctx := context.Background()
	c := memory(ctx)
	defer c.Close()

	tick := time.Now().Truncate(time.Hour)
	for range 3 { // each program of the fleet
		mine, err := c.Ticks("hourly report").Take(ctx, tick)
		fmt.Println(mine, err)
	}
	// Output:
	// true <nil>
	// false <nil>
	// false <nil>
}
