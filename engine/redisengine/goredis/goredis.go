// Package goredis runs Lockstep's Redis engine over a go-redis client that a
// program has already:
//
//	rdb := redis.NewClient(&redis.Options{Addr: "10.0.0.1:6379"})
//	e, err := goredis.FromGoRedis(ctx, rdb)
//	c, err := lockstep.New(e)
//
// It is a module of its own, so that who uses rueidis does not get go-redis. The
// engine itself is package redisengine's; here is only what carries its requests
// (redisengine.Transport).
//
// A client that one Redis answers is a *redis.Client. Those of a Cluster or a Ring
// are another type and are not taken: a lock needs one server that says who holds
// it.
package goredis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
)

// FromGoRedis is an engine over a client that the caller has, and closes after the
// engine. It makes one round trip. Errors: [engine.ErrInvalid] without a client,
// [engine.ErrUnusable] for a user without the permissions that the engine needs.
//
// The client's own settings stay as they are, but for the engine's requests alone:
//
//   - They are never sent twice, whatever MaxRetries says: one whose answer was lost may
//     have been carried out, and only the engine knows how to ask again.
//   - They end with their context, whatever ContextTimeoutEnabled says.
//   - Where ReadTimeout is off, or more than 30 s, it is 5 s for them.
//
// Each watch of a map and all waiters together need a connection of their own, beside the
// client's pool.
func FromGoRedis(ctx context.Context, client *redis.Client, opts ...redisengine.Option) (*redisengine.Engine, error) {
	if client == nil {
		return nil, fmt.Errorf("%w: no client", engine.ErrInvalid)
	}
	opts = append([]redisengine.Option{redisengine.WithDatabase(client.Options().DB)}, opts...)
	return redisengine.FromTransport(ctx, newTransport(client), opts...)
}

// NewTransport carries requests over a client that the caller has, as FromGoRedis does:
// for engines of several servers, such as package redlock's. Closing it leaves the
// client open.
func NewTransport(client *redis.Client) redisengine.Transport { return newTransport(client) }

const (
	longestRead = 30 * time.Second
	usualRead   = 5 * time.Second
)

func newTransport(client *redis.Client) *transport {
	if d := client.Options().ReadTimeout; d <= 0 || d > longestRead {
		client = client.WithTimeout(usualRead) // it shares the caller's pool
	}
	closed, shut := context.WithCancel(context.Background())
	return &transport{client: client, closed: closed, shut: shut, pingEvery: pingEvery, abandoned: make(map[string][]*pending)}
}
