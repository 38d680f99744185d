// Package redlock is the engine of several independent Redis masters: a lock is a
// majority of their votes, so it survives the loss of a minority, and comes with a
// token that whoever is written to can check. It carries mutexes and elections, in
// the layout of redsync, which it excludes and is excluded by.
//
// What is decided is in internal/vote, which explore/ tries in all orders; what a
// node does is in lua/, one step a file. This package carries questions and answers
// between the two:
//
//	driver.go, options.go   how an engine is opened
//	node.go                 one server: when it may vote, and when it is left out
//	ask.go                  one question to all nodes
//	acquire.go              an attempt, and what follows a lost one; wait.go the waiting
//	release.go, renew.go    the rest of a claim's life
//	line.go, watch_line.go  what others see of it
//
// Decision 0006 and docs/engines/redlock.md say why.
package redlock
