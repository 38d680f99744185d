module github.com/lockstep-go/lockstep/engine/zkengine

go 1.26.0

require (
	github.com/go-zookeeper/zk v1.0.4
	github.com/lockstep-go/lockstep v0.0.0
)

replace github.com/lockstep-go/lockstep => ../..
