// Package zktest starts real ZooKeeper servers for tests, single ones and
// ensembles, and asks them things.
//
// Every server is a Java process of its own in a folder of its own, listens on
// 127.0.0.1 on free ports, and is stopped by its process id when its test ends.
// A start takes a second or more: tests of a package share servers where no rule
// forbids it.
//
// The members of an ensemble may be told to reach each other's quorum port through
// proxies (Options.Proxied), so that a test can cut a follower off from its leader
// while it goes on answering clients.
//
// What the package itself asks are ZooKeeper's four-letter words.
package zktest

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/lockstep-go/lockstep/internal/childproc"
	"github.com/lockstep-go/lockstep/internal/need"
)

// TB is what a server needs of a [testing.T].
type TB = childproc.TB

// jars is where Debian puts Java libraries.
const jars = "/usr/share/java"

// classPath of a server: zookeeper.jar names the libraries that it needs, but two of
// those for TLS.
func classPath() (path string, err error) {
	var found []string
	for _, jar := range []string{"zookeeper.jar", "slf4j-simple.jar", "netty-codec.jar", "netty-resolver.jar"} {
		full := filepath.Join(jars, jar)
		if _, err := os.Stat(full); err != nil {
			return "", err
		}
		found = append(found, full)
	}
	return strings.Join(found, string(os.PathListSeparator)), nil
}

// Need ends the test where ZooKeeper is missing; see package need.
func Need(t TB) { needed(t) }

// needed is what a server runs with.
func needed(t TB) (java, path string) {
	t.Helper()
	java = need.Program(t, "java", "default-jdk-headless")
	path, err := classPath()
	need.That(t, "ZooKeeper (Debian's libzookeeper-java)", err)
	return java, path
}
