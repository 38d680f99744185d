// Package redistest starts real Redis servers for tests and asks them things.
//
// Every server is a process of its own in a folder of its own, listens on
// 127.0.0.1 and on a unix socket in that folder, reads no configuration file and
// keeps nothing on disk unless told to. It is stopped by its process id when its
// test ends, and dies with the test's process where the system can do that.
//
// What the package itself asks goes over the unix socket and by a client of its
// own (resp.go): the socket cannot be another server's, a proxy in front of the
// port does not see it, and no test needs a client library to look at a key.
package redistest

import "github.com/lockstep-go/lockstep/internal/childproc"

// TB is what a server needs of a [testing.T].
type TB = childproc.TB
