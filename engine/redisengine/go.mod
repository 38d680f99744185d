module github.com/lockstep-go/lockstep/engine/redisengine

go 1.26.0

require (
	github.com/lockstep-go/lockstep v0.0.0
	github.com/redis/rueidis v1.0.79
)

require golang.org/x/sys v0.47.0 // indirect

replace github.com/lockstep-go/lockstep => ../..
