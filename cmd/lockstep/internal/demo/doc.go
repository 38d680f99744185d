// Package demo is `lockstep demo`: a play in five scenes that shows what a lock is
// worth when workers are killed and frozen.
//
// The parent process is the stage and the storage; three worker processes
// (worker.go) contend for one lock and write under it. The parent tells each
// holder when to write, so that the story is the same each time, and sends real
// KILL, STOP and CONT. All that is shown was measured in this run; story.go checks
// that it came true.
package demo

// Hidden is the first argument that makes this executable a worker.
const Hidden = "__worker"
