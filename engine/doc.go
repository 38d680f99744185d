// Package engine is the seam: what a service must supply so that every
// primitive of Lockstep can be built on it, and nothing else.
//
// An engine supplies three things. A [Session] is one client's presence, which
// the engine forgets one TTL after the last renewal it saw. A line of claims
// per name (Session.Acquire and what belongs to it) says who may act. A [Store]
// of revisioned entries is what everyone sees.
//
// The core above the seam owns time, retries and the memory of what is held. An
// engine owns one round trip at a time. Three rules follow, and they decide
// most questions that an engine's author has:
//
//	E1 Every call but Begin is safe to repeat with the same arguments: it
//	   adopts or confirms what an earlier call did.
//	E2 An engine never retries in the background, and each goroutine it starts
//	   belongs to a call, a session or the engine and ends with it.
//	E3 An error that is none of this package's says "outcome unknown".
//
// The comment of each method is its contract, as numbered steps for whoever
// writes an engine. Package enginetest holds every engine to them; package
// memengine is the same contract as a program.
package engine
