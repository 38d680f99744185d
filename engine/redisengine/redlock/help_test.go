package redlock

import (
	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/enginetest"
	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// start starts so many servers.
func start(t redistest.TB, n int) []*redistest.Server {
	t.Helper()
	nodes := make([]*redistest.Server, n)
	for i := range nodes {
		nodes[i] = redistest.Start(t)
	}
	return nodes
}

func addresses(nodes []*redistest.Server) []string {
	all := make([]string, len(nodes))
	for i, n := range nodes {
		all[i] = n.Addr
	}
	return all
}

// openOn opens servers that have just been started, and have nothing to forget.
func openOn(t enginetest.TB, nodes []*redistest.Server, opts ...Option) *Engine {
	t.Helper()
	return openAt(t, addresses(nodes), append(opts, func(o *options) { o.young = true })...)
}

// openAt opens nodes at addresses as the Driver does.
func openAt(t enginetest.TB, hosts []string, opts ...Option) *Engine {
	t.Helper()
	ts, err := transports(t.Context(), engine.Target{Scheme: scheme, Hosts: hosts, Params: map[string]string{}})
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return openOver(t, ts, append([]Option{WithNodeNames(hosts...)}, opts...)...)
}

func openOver(t enginetest.TB, ts []redisengine.Transport, opts ...Option) *Engine {
	t.Helper()
	e, err := FromTransports(t.Context(), ts, opts...)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	return e
}
