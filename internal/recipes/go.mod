module github.com/lockstep-go/lockstep/internal/recipes

go 1.26.0

replace github.com/lockstep-go/lockstep => ../..

replace github.com/lockstep-go/lockstep/engine/redisengine => ../../engine/redisengine

require (
	github.com/go-redsync/redsync/v4 v4.18.1
	github.com/lockstep-go/lockstep v0.0.0
	github.com/lockstep-go/lockstep/engine/redisengine v0.0.0-00010101000000-000000000000
	github.com/redis/go-redis/v9 v9.23.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/redis/rueidis v1.0.79 // indirect
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.48.0 // indirect
)
