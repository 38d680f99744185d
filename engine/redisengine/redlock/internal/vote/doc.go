// Package vote is what Fenced Redlock decides, and nothing else: no network, no
// clock, no goroutine. The engine feeds it what nodes answer and does what it
// says; the explorer beside it feeds it every order of every answer, with losses,
// repeats and nodes that forget, and looks whether its promises hold. So the code
// that runs is the code that was explored.
//
// A file is a decision: attempt.go whether a claim is granted and with which
// token, renewal.go whether it is still held, presence.go whether a claim is
// there at all, validity.go for how long. All are values: they can be compared
// and copied.
package vote
