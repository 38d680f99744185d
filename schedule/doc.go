// Package schedule runs a function at the ticks of a schedule, at most once per
// tick across a fleet, whoever of its programs is there.
//
// Every program computes the same ticks from the same [Times], waits for each by
// its own clock and then asks for it by its time ([lockstep.Ticks]): one of all is
// told yes. So a program whose clock is slow, and a function that is over before
// others have looked, cannot make a tick run twice. A lock that is held while the
// function runs cannot promise that; here it only keeps two ticks of one schedule
// from running beside each other.
//
// At most once also means: a tick whose runner crashes is not run again, and one that
// nobody could ask for in time ([Job.Late]) is missed. What has to be done, however
// late, is for [lockstep.Once] or a table of the work that is left.
package schedule
