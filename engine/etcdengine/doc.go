// Package etcdengine is the engine of etcd 3.4 and newer, one server or a cluster.
//
// A claim is one key, NAME/<lease>-<id>.<shape>, bound to its session's lease: the
// layout of concurrency.Mutex, concurrency.Election, `etcdctl lock` and `etcdctl
// elect`, so each excludes the other. A line is the keys of a name in the order of
// their creation (layout.go, line.go); nothing else is stored of it, and whoever
// looks can tell who holds. A map is a prefix, its values are verbatim.
//
// Entering a line is one transaction. A waiter then watches one key, and looks at
// the line once when that changes (wait.go says why in this order). A session is one
// lease; what proves that it lives is in renew.go.
//
// Who reads on: engine.go, layout.go, session.go, acquire.go, wait.go, renew.go; and
// for maps store.go, list.go, watch.go.
package etcdengine
