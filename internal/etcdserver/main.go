// Command etcdserver is etcd's own server, for tests: a module of its own, so that
// nothing else requires what it does. Package etcdtest builds and runs it.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
