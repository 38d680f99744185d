// Package memengine is Lockstep's engine inside one process, for tests and
// examples, and the reference: the contract of package engine as a program.
//
// Read it in this order: line.go is the rule by which claims are granted,
// queue.go enters and removes claims, session.go is who they belong to, store.go
// and watch.go are the revisioned maps, service.go is what holds it together.
//
// A [Service] stands for what is a server elsewhere, an [Engine] for one
// client's handle on it; [New] and [Driver] make a service of its own for each
// handle. One mutex makes every call a transaction: it is never held while
// anything waits. What waits, waits on a channel, and what ends by itself ends
// by a timer at exactly its time, so all of it is exact in testing/synctest.
package memengine
