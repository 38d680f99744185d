// Package etcdtest starts real etcd servers and clusters for tests.
//
// A member is a process of its own in a folder of its own, listens on 127.0.0.1, and
// is stopped by its process id when its test ends. The server is the one that comes as
// a Go module (internal/etcdserver), built once into bin/test, or Debian's, which is
// old: 3.4.
package etcdtest
