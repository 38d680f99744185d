module github.com/lockstep-go/lockstep/schedule

go 1.26.0

require (
	github.com/lockstep-go/lockstep v0.0.0
	github.com/netresearch/go-cron v0.9.1
)

replace github.com/lockstep-go/lockstep => ..
