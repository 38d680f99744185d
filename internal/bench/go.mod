module github.com/lockstep-go/lockstep/internal/bench

go 1.26.0

replace github.com/lockstep-go/lockstep => ../..

replace github.com/lockstep-go/lockstep/engine/sqliteengine => ../../engine/sqliteengine

require (
	github.com/bsm/redislock v0.9.4
	github.com/fsnotify/fsnotify v1.10.1
	github.com/go-redsync/redsync/v4 v4.18.1
	github.com/go-zookeeper/zk v1.0.4
	github.com/gofrs/flock v0.13.2
	github.com/lockstep-go/lockstep v0.0.0
	github.com/lockstep-go/lockstep/engine/sqliteengine v0.0.0
	github.com/lockstep-go/lockstep/engine/zkengine v0.0.0
	github.com/redis/go-redis/v9 v9.23.0
	github.com/redis/rueidis v1.0.79
	github.com/redis/rueidis/rueidiscompat v1.0.79
	golang.org/x/sys v0.49.0
	modernc.org/sqlite v1.62.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	go.uber.org/atomic v1.12.0 // indirect
)

require (
	github.com/dustin/go-humanize v1.1.0 // indirect
	github.com/google/uuid v1.6.0 // indirect
	github.com/lockstep-go/lockstep/engine/redisengine v0.0.0
	github.com/mattn/go-isatty v0.0.24 // indirect
	github.com/ncruces/go-strftime v1.1.0 // indirect
	github.com/remyoudompheng/bigfft v0.0.0-20230129092748-24d4a6f8daec // indirect
	modernc.org/libc v1.80.1 // indirect
	modernc.org/mathutil v1.7.1 // indirect
	modernc.org/memory v1.12.1 // indirect
)

replace github.com/lockstep-go/lockstep/engine/redisengine => ../../engine/redisengine

replace github.com/lockstep-go/lockstep/engine/zkengine => ../../engine/zkengine
