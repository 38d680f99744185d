// Package zkengine is the engine of ZooKeeper 3.6 or newer.
//
// A claim is ephemeral-sequential nodes under the name's own path, in the layouts
// of Curator, kazoo and go-zookeeper (node.go), so that their locks and ours
// exclude each other. The line of a name is its children in the order of their
// numbers; whoever waits watches what is in front of it (wait.go). A session is a
// ZooKeeper session and renewed by writes that a quorum has to agree to (renew.go).
// A map is a node with a child per key (store.go).
//
// Two connection-level types carry all of it: a [Tap] sits between go-zookeeper
// and the network and knows what that client does not tell; a conn (conn.go) is
// the only thing that calls the client.
//
// Who reads on: node.go, acquire.go, wait.go, renew.go, then store.go.
package zkengine
