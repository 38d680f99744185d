// Package lockstep is for programs that run as many copies and must agree: who
// may act (locks, read-write locks, semaphores), and what everyone sees (maps
// and values that are watched, counters, votes, barriers). It works over several engines: an embedded
// file, and services that a fleet already runs.
//
// A [Client] keeps one session at its engine: its presence, which the engine
// forgets one TTL after the last renewal that it saw. A lock is a claim in a
// first-come-first-served line per name; what its holder has is a [Lease].
//
// # What a lease promises
//
// A lease is trusted for a window: from when the last successful renewal was
// sent, for one TTL, less a margin. Its context is done before the engine can
// give the name to anybody else, whether or not a renewal call ever returns.
// Two things can break that promise, and no lock service can mend them: this
// process is not scheduled (stopped, swapped, a debugger), or the engine forgets
// what it granted (its data lost, its clock stepped forward, the lock released
// by force).
//
// For these there is the token ([Lease.Token]): a number greater for every later
// grant on a name. Whatever is written under the lock should carry it, and the
// place that is written to should refuse a smaller one than it has seen.
//
// # Lost and released
//
// A lease ends once. Given back by [Lease.Release] it is released
// ([ErrReleased]). Taken away, or no longer provable, it is lost ([ErrLost]):
// its context ends with that cause, and the work it guarded must stop. A
// renewal that fails is no loss by itself: it is tried again until the window
// closes.
package lockstep
