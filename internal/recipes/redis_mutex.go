package recipes

import (
	"context"

	"github.com/go-redsync/redsync/v4"
	"github.com/go-redsync/redsync/v4/redis/goredis/v9"
	"github.com/redis/go-redis/v9"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/redisengine"
)

//nolint:errcheck // as articles write it
func redisMutexTheirs(ctx context.Context, addr string, writeInvoice func(context.Context) error) error {
	// recipe redis mutex: redsync
	client := redis.NewClient(&redis.Options{Addr: addr})
	defer client.Close()
	pool := goredis.NewPool(client)
	rs := redsync.New(pool)

	mutex := rs.NewMutex("invoices/42")
	if err := mutex.LockContext(ctx); err != nil {
		return err
	}
	defer mutex.UnlockContext(ctx)
	return writeInvoice(ctx)
	// end
}

func redisMutexOurs(ctx context.Context, addr string, writeInvoice func(context.Context, lockstep.Token) error) error {
	// recipe redis mutex: Lockstep
	c, err := lockstep.Open(ctx, "redis://"+addr, redisengine.Driver)
	if err != nil {
		return err
	}
	defer c.Close()

	return c.Mutex("invoices/42").Do(ctx, func(ctx context.Context) error {
		return writeInvoice(ctx, lockstep.TokenFrom(ctx)) // ctx ends if the lock is lost
	})
	// end
}
