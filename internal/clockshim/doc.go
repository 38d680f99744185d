// Package clockshim steps the wall clock of one process while it runs, to see
// what a server's clock does to locks: a shared object, compiled by the test and
// loaded by LD_PRELOAD, adds an offset to what the process reads as its time
// (preload/shim.c). The test changes the offset through a file that both map.
//
// Only the wall clock moves. Timers, sleeps and whatever else runs by
// CLOCK_MONOTONIC go on as they do when an operator or NTP steps a clock.
//
// Redis 7.0 reads its time by gettimeofday (TIME, expiry, and when to give up a
// blocked client, BLPOP or XREAD BLOCK) and by time (its log). Its monotonic
// clock, by clock_gettime, drives the event loop.
package clockshim
