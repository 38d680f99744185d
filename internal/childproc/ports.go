package childproc

import (
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
)

// Ports are taken below the range from which systems take the local ports of
// connections: a client that tries a port there while the server is down can
// meet itself.
const firstPort, ports = 11000, 20000

// FreePorts are ports of 127.0.0.1 that nobody listens on at this moment. They may be
// another's in the next: who finds one taken takes others.
func FreePorts(n int) []int {
	var found []int
	for len(found) < n {
		port := firstPort + rand.IntN(ports)
		l, err := net.Listen("tcp", Addr(port)) //nolint:noctx // it does not block
		if err != nil {
			continue
		}
		_ = l.Close() // nobody was accepted
		if !slices.Contains(found, port) {
			found = append(found, port)
		}
	}
	return found
}

// Addr is where a port of this machine is reached.
func Addr(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
