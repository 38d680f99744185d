package etcdtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/internal/childproc"
	"github.com/lockstep-go/lockstep/internal/need"
)

// TB is what a server needs of a [testing.T].
type TB = childproc.TB

// patience is how long a server may take to start or to answer. It is far more than
// any needs: reaching it is a failure, never a speed.
const patience = 45 * time.Second

// Debian names the server of the package etcd-server.
const Debian = "etcd"

// Options is how a cluster is started.
type Options struct {
	Members int      // 0: one
	Program string   // "": the module's; [Debian]: what is on PATH under that name
	Args    []string // added to each member's
	Scheme  string   // of the client's addresses: "" is http
	Peers   bool     // members reach each other through a network that can be cut
}

// Cluster is one cluster of a test.
type Cluster struct {
	Members []*Member
	Peers   *Peers // where it was asked for
}

// Member is one server.
type Member struct {
	*childproc.Server

	Addr string // host:port for clients
	Peer string // host:port for members

	name    string
	known   string // where other members find it
	program string
	args    []string
	health  string
}

// Start starts one server of the module's version.
func Start(t TB, args ...string) *Member {
	t.Helper()
	return StartWith(t, Options{Args: args}).Members[0]
}

// StartWith starts a cluster and waits until each member answers with a quorum.
func StartWith(t TB, o Options) *Cluster {
	t.Helper()
	program := Program(t, o.Program)
	var err error
	for range 10 {
		c := plan(t, o, program)
		if err = c.start(); err == nil {
			return c
		}
		c.kill() // a port was another's: others
	}
	t.Fatalf("etcdtest: %v", err)
	return nil
}

// plan is a cluster that has not been started.
func plan(t TB, o Options, program string) *Cluster {
	t.Helper()
	c := &Cluster{}
	free := childproc.FreePorts(2 * max(o.Members, 1))
	for i := range max(o.Members, 1) {
		name := "m" + strconv.Itoa(i)
		client, peer := childproc.Addr(free[2*i]), childproc.Addr(free[2*i+1])
		m := &Member{Server: childproc.NewServer(t, "etcd-"+name), Addr: client, Peer: peer, known: peer, name: name, program: program}
		c.Members = append(c.Members, m)
	}
	if o.Peers {
		c.Peers = newPeers(t)
		for i, m := range c.Members {
			known, err := c.Peers.add(i, m.Peer)
			if err != nil {
				t.Fatalf("etcdtest: %v", err)
			}
			m.known = known
		}
	}
	scheme := o.Scheme
	if scheme == "" {
		scheme = "http"
	}
	for _, m := range c.Members {
		m.health = scheme + "://" + m.Addr + "/health"
		client := scheme + "://" + m.Addr
		m.args = []string{
			"--name", m.name, "--data-dir", filepath.Join(m.Dir, "data"), "--logger", "zap", "--log-level", "warn",
			"--listen-client-urls", client, "--advertise-client-urls", client,
			"--listen-peer-urls", "http://" + m.Peer, "--initial-advertise-peer-urls", "http://" + m.known,
			"--initial-cluster", c.initial(), "--initial-cluster-state", "new", "--initial-cluster-token", c.Members[0].Peer,
		}
		m.args = append(m.args, o.Args...)
	}
	return c
}

func (c *Cluster) initial() string {
	var all []string
	for _, m := range c.Members {
		all = append(all, m.name+"=http://"+m.known)
	}
	return strings.Join(all, ",")
}

func (c *Cluster) start() error {
	for _, m := range c.Members {
		if err := m.launch(); err != nil {
			return err
		}
	}
	for _, m := range c.Members {
		if err := m.await(); err != nil {
			return err
		}
	}
	return c.introduce()
}

// introduce tells the network between the members who is who.
func (c *Cluster) introduce() error {
	if c.Peers == nil {
		return nil
	}
	for i, m := range c.Members {
		is, err := m.Status()
		if err != nil {
			return err
		}
		id, err := strconv.ParseUint(is.Header.MemberID, 10, 64)
		if err != nil {
			return err
		}
		c.Peers.know(strconv.FormatUint(id, 16), i)
	}
	return nil
}

// Leader is the number of the member that leads, as that member sees it itself.
func (c *Cluster) Leader() (int, bool) {
	for i, m := range c.Members {
		if is, err := m.Status(); err == nil && is.Leader == is.Header.MemberID {
			return i, true
		}
	}
	return 0, false
}

// Status is what a member says of itself.
type Status struct {
	Header struct {
		MemberID string `json:"member_id"`
		RaftTerm string `json:"raft_term"`
	} `json:"header"`
	Leader string `json:"leader"`
}

// Status asks the member by its HTTP gateway.
func (m *Member) Status() (Status, error) {
	var is Status
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+m.Addr+"/v3/maintenance/status", strings.NewReader("{}"))
	if err != nil {
		return is, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return is, err
	}
	defer r.Body.Close()
	return is, json.NewDecoder(r.Body).Decode(&is)
}

func (c *Cluster) kill() {
	for _, m := range c.Members {
		m.Kill()
	}
}

// Addrs are where clients find the members.
func (c *Cluster) Addrs() []string {
	var all []string
	for _, m := range c.Members {
		all = append(all, m.Addr)
	}
	return all
}

func (m *Member) launch() error {
	cmd := exec.Command(m.program, m.args...) //nolint:noctx // it ends with its test, by its process id
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ETCD") }), "GOMAXPROCS=2")
	return m.Launch(cmd)
}

// await polls the member until it answers with a quorum behind it.
func (m *Member) await() error { return m.Await(patience, m.healthy) }

// healthy asks as a load balancer does. A server that wants a certificate of its
// clients is believed as soon as it accepts connections.
func (m *Member) healthy() error {
	if strings.HasPrefix(m.health, "https") {
		conn, err := net.DialTimeout("tcp", m.Addr, patience) //nolint:noctx // it has a limit of its own
		if err == nil {
			conn.Close()
		}
		return err
	}
	body, err := get(m.health)
	if err != nil {
		return err
	}
	var is struct{ Health string }
	if err := json.Unmarshal(body, &is); err != nil {
		return err
	}
	if is.Health != "true" {
		return fmt.Errorf("it is not healthy: %s", body)
	}
	return nil
}

// Metrics is what the member counts, in the text form of Prometheus.
func (m *Member) Metrics() (string, error) {
	body, err := get("http://" + m.Addr + "/metrics")
	return string(body), err
}

func get(url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	return io.ReadAll(r.Body)
}

// URL is the member's address as Lockstep reads it.
func (m *Member) URL() string { return "etcd://" + m.Addr }

// Start starts the member again, in the same folder and with the same addresses. It
// does not wait for a quorum, as there may be none.
func (m *Member) Start() {
	m.Change("start again", func(p *childproc.Process) error {
		if err := p.Stop(); err != nil {
			return err
		}
		return m.launch()
	})
}

// Ready waits until the member answers with a quorum behind it.
func (m *Member) Ready() {
	m.Change("wait", func(*childproc.Process) error { return m.await() })
}

// Program is the path of a server; where it is missing the test ends.
func Program(t TB, name string) string {
	t.Helper()
	if name != "" {
		return need.Program(t, name, "etcd-server")
	}
	path, err := built()
	need.That(t, "the etcd server (internal/etcdserver)", err)
	return path
}

// built builds the module's server, unless that is up to date: the go command knows.
var built = sync.OnceValues(func() (string, error) {
	_, here, _, _ := runtime.Caller(0)
	root := filepath.Join(filepath.Dir(here), "..", "..")
	path := filepath.Join(root, "bin", "test", "etcd")
	unlock, err := lock(path + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	cmd := exec.Command("go", "build", "-o", path, ".")
	cmd.Dir = filepath.Join(root, "internal", "etcdserver")
	cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})
