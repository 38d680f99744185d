// Package faultnet is a bad network between a client and a server: a TCP proxy
// that delays, loses, repeats and holds what passes, and cuts connections, when
// its test says so.
//
// What it promises, so that a test can reason about it:
//
//   - A change is in force when its method returns: after [Proxy.Blackhole] not
//     one byte more passes (the gate in proxy.go).
//   - It knows where a request and its reply begin and end (a [Protocol]), so that a
//     rule can pick a request by its content and lose just its reply, pass it twice
//     or keep it back (rule.go).
//   - A connection on which bytes were swallowed can never work again, because its
//     peers disagree about what was said. It stays open as long as the fault lasts,
//     and [Proxy.Heal] resets it, as a peer's kernel would.
//   - No chance and no time of its own: nothing happens that the test did not order.
//   - When the test ends, so does every goroutine and connection.
package faultnet

// TB is what a proxy needs of a [testing.T].
type TB interface {
	Helper()
	Cleanup(f func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}
