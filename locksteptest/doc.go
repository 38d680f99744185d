// Package locksteptest is for the tests of programs that use Lockstep: clients of
// an engine in memory, whose leases can be lost, sessions ended, calls delayed and
// cut off, and clocks moved on demand. What a program does when its lock is gone
// can so be tested without a server and without waiting.
//
//	func TestTheImportStopsWhenItsLockIsLost(t *testing.T) {
//		c := locksteptest.New(t)
//		go runImport(c.Client)
//		…
//		c.EndSession()
//		…
//	}
//
// Each [Client] is a program of its own; those of one [Service] compete and see
// each other. Everything is closed when the test ends, and the test fails if that
// is not possible. Nothing here is a mock: the engine is the one that serves as the
// specification of all others.
//
// Under testing/synctest time passes as fast as everybody sleeps, in the right
// order, renewals included: there time.Sleep moves all clocks. [Service.Advance] is
// for tests outside of it, and for jumps: as if the machine had been stopped.
package locksteptest
