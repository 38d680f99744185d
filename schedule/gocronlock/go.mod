module github.com/lockstep-go/lockstep/schedule/gocronlock

go 1.26.0

require (
	github.com/go-co-op/gocron/v2 v2.21.2
	github.com/jonboulle/clockwork v0.5.0
	github.com/lockstep-go/lockstep v0.0.0
	github.com/lockstep-go/lockstep/schedule v0.0.0
)

require (
	github.com/google/uuid v1.6.0 // indirect
	github.com/netresearch/go-cron v0.9.1 // indirect
	github.com/robfig/cron/v3 v3.0.1 // indirect
)

replace github.com/lockstep-go/lockstep => ../..

replace github.com/lockstep-go/lockstep/schedule => ..
