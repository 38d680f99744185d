// Package gocronlock lets github.com/go-co-op/gocron share its jobs across a fleet:
// [NewLocker] is its Locker, for one job, and [NewElector] its Elector, for all of a
// scheduler's.
//
// The Locker of other packages holds a lock while the job runs, and so runs a short
// job again on a program that looks a moment later. This one asks for the tick that the
// job is run for, which has one taker however late the others ask ([lockstep.Ticks]).
package gocronlock
