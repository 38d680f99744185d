package zktest

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/internal/childproc"
	"github.com/lockstep-go/lockstep/internal/faultnet"
)

// Ensemble is servers that elect a leader among them.
type Ensemble struct {
	Servers []*Server

	t     TB
	links map[[2]int]*faultnet.Proxy // from member to member, by id; Proxied only
}

// StartEnsemble starts n servers and waits until all serve.
func StartEnsemble(t TB, n int, o Options) *Ensemble {
	t.Helper()
	return start(t, o, n)
}

func start(t TB, o Options, n int) *Ensemble {
	t.Helper()
	var err error
	for range 20 {
		e := &Ensemble{t: t, links: make(map[[2]int]*faultnet.Proxy)}
		e.configure(n, o)
		if err = e.run(); err == nil {
			return e
		}
		if !errors.Is(err, childproc.ErrEnded) {
			break // there is no use in trying other ports
		}
	}
	t.Fatalf("zktest: %v", err)
	return nil
}

// member is the ports of one server.
type member struct{ client, quorum, election int }

func (e *Ensemble) configure(n int, o Options) {
	members := make([]member, n)
	for i := range members {
		p := childproc.FreePorts(3)
		members[i] = member{p[0], p[1], p[2]}
	}
	for i, m := range members {
		var lines []string
		for j, other := range members {
			if n == 1 {
				break
			}
			quorum := other.quorum
			if o.Proxied && i != j {
				quorum = e.link(i+1, j+1, other.quorum)
			}
			lines = append(lines, fmt.Sprintf("server.%d=127.0.0.1:%d:%d", j+1, quorum, other.election))
		}
		e.Servers = append(e.Servers, newServer(e.t, i+1, m.client, o, lines))
	}
}

// link is a proxy in front of a member's quorum port, as another member sees it.
func (e *Ensemble) link(from, to, quorum int) int {
	p := faultnet.New(e.t, childproc.Addr(quorum), faultnet.Raw)
	e.links[[2]int{from, to}] = p
	_, port, err := net.SplitHostPort(p.Addr)
	if err != nil {
		e.t.Fatalf("zktest: %v", err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		e.t.Fatalf("zktest: %v", err)
	}
	return n
}

func (e *Ensemble) run() error {
	for _, s := range e.Servers {
		if err := s.launch(); err != nil {
			return err
		}
	}
	for _, s := range e.Servers {
		if err := s.await(); err != nil {
			for _, s := range e.Servers {
				s.Kill()
			}
			return fmt.Errorf("server %d: %w\n%s", s.ID, err, s.Log())
		}
	}
	return nil
}

// Addrs are the client addresses of all members.
func (e *Ensemble) Addrs() []string {
	var all []string
	for _, s := range e.Servers {
		all = append(all, s.Addr)
	}
	return all
}

// URL is the ensemble's address as Lockstep reads it.
func (e *Ensemble) URL() string { return "zk://" + strings.Join(e.Addrs(), ",") }

// Leader is who leads now. It waits until somebody does.
func (e *Ensemble) Leader() *Server { return e.find("a leader", "leader") }

// Follower is one that follows now. It waits until somebody does.
func (e *Ensemble) Follower() *Server { return e.find("a follower", "follower") }

// Serving waits until every member serves.
func (e *Ensemble) Serving() {
	e.t.Helper()
	for _, s := range e.Servers {
		if err := s.await(); err != nil {
			e.t.Fatalf("zktest: server %d: %v\n%s", s.ID, err, s.Log())
		}
	}
}

func (e *Ensemble) find(what, mode string) *Server {
	e.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		for _, s := range e.Servers {
			if s.Mode() == mode {
				return s
			}
		}
		time.Sleep(10 * time.Millisecond) // between two looks, not instead of one
	}
	e.t.Fatalf("zktest: no member is %s", what)
	return nil
}

// Link is the way from one member to another's quorum port (Options.Proxied). A
// follower reaches its leader through it.
func (e *Ensemble) Link(from, to *Server) *faultnet.Proxy {
	return e.links[[2]int{from.ID, to.ID}]
}
