package zkengine

import (
	"sync"
	"time"
)

// hosts says which server is tried next. Unlike the client's own provider it keeps
// the names of hosts: they are looked up anew at each connection, and TLS can
// compare them with certificates. And it does not pause before the first try after
// a connection broke, which with one server is the only one.
type hosts struct {
	mu        sync.Mutex
	servers   []string
	current   int
	first     int // the first that was tried since one was connected; -1: none yet
	connected time.Time
}

// Init takes the servers in an order that the client has shuffled.
func (h *hosts) Init(servers []string) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.servers, h.current, h.first = servers, -1, -1
	return nil
}

// Len is how many there are.
func (h *hosts) Len() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.servers)
}

// shortLived is a connection after whose end the client pauses before the next.
const shortLived = 200 * time.Millisecond

// Next is the next server; retryStart: all have been tried since one was connected,
// or that was for a moment only, so that the client pauses for a second.
func (h *hosts) Next() (server string, retryStart bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.current = (h.current + 1) % len(h.servers)
	retryStart = h.current == h.first || h.first < 0 && time.Since(h.connected) < shortLived
	if h.first < 0 {
		h.first = h.current
	}
	return h.servers[h.current], retryStart
}

// Connected is called when the server just given was connected.
func (h *hosts) Connected() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.first, h.connected = -1, time.Now()
}
