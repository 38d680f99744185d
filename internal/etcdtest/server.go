package etcdtest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
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
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// TB is what a server needs of a [testing.T].
type TB = redistest.TB

// patience is how long a server may take to start or to answer. It is far more than
// any needs: reaching it is a failure, never a speed.
const patience = 45 * time.Second

// Ports are taken below the range of connections' local ports.
const firstPort, ports = 11000, 20000

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

// Member is one server. Its methods may be called by any goroutine while the test
// runs; what goes wrong in them fails the test that started it.
type Member struct {
	Addr string // host:port for clients
	Peer string // host:port for members
	Dir  string

	t       TB
	name    string
	known   string // where other members find it
	program string
	args    []string
	health  string

	mu   sync.Mutex
	proc *childproc.Process
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
	var err error
	free := freePorts(2 * max(o.Members, 1))
	for i := range max(o.Members, 1) {
		var dir string
		dir, err = os.MkdirTemp("", "etcd")
		if err != nil {
			t.Fatalf("etcdtest: %v", err)
		}
		m := &Member{Addr: free[2*i], Peer: free[2*i+1], known: free[2*i+1], Dir: dir, t: t, name: "m" + strconv.Itoa(i), program: program}
		t.Cleanup(m.remove)
		c.Members = append(c.Members, m)
	}
	if o.Peers {
		c.Peers = newPeers(t)
		for i, m := range c.Members {
			if m.known, err = c.Peers.add(i, m.Peer); err != nil {
				t.Fatalf("etcdtest: %v", err)
			}
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

// freePorts are addresses that nobody listens on at this moment.
func freePorts(n int) []string {
	var all []string
	for len(all) < n {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(firstPort+rand.IntN(ports)))
		ln, err := net.Listen("tcp", addr) //nolint:noctx // it does not block
		if err != nil || slices.Contains(all, addr) {
			continue
		}
		ln.Close()
		all = append(all, addr)
	}
	return all
}

func (m *Member) launch() error {
	cmd := exec.Command(m.program, m.args...) //nolint:noctx // it ends with its test, by its process id
	cmd.Dir = m.Dir
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "ETCD") }), "GOMAXPROCS=2")
	proc, err := childproc.Launch(cmd)
	if err != nil {
		return err
	}
	m.proc = proc
	return nil
}

// await polls the member until it answers with a quorum behind it.
func (m *Member) await() error {
	deadline := time.Now().Add(patience)
	for {
		healthy, err := m.healthy()
		switch {
		case healthy:
			return nil
		case m.proc.Ended():
			return fmt.Errorf("etcd ended at once\n%s", m.Log())
		case time.Now().After(deadline):
			return fmt.Errorf("not healthy within %v: %w\n%s", patience, err, m.Log())
		}
		select {
		case <-m.proc.Done:
		case <-time.After(10 * time.Millisecond): // between two looks, not instead of one
		}
	}
}

// healthy asks as a load balancer does. A server that wants a certificate of its
// clients is believed as soon as it accepts connections.
func (m *Member) healthy() (bool, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if strings.HasPrefix(m.health, "https") {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.Addr)
		if err == nil {
			conn.Close()
		}
		return err == nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, m.health, nil)
	if err != nil {
		return false, err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return false, err
	}
	var is struct{ Health string }
	err = json.Unmarshal(body, &is)
	return is.Health == "true", err
}

// Metrics is what the member counts, in the text form of Prometheus.
func (m *Member) Metrics() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+m.Addr+"/metrics", nil)
	if err != nil {
		return "", err
	}
	r, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer r.Body.Close()
	body, err := io.ReadAll(r.Body)
	return string(body), err
}

// Log is what the member has printed so far.
func (m *Member) Log() string {
	text, err := os.ReadFile(filepath.Join(m.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// URL is the member's address as Lockstep reads it.
func (m *Member) URL() string { return "etcd://" + m.Addr }

// Pid is of the process that runs, or ran last.
func (m *Member) Pid() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.proc.Pid()
}

// Kill ends the member as a crash would.
func (m *Member) Kill() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check("kill", m.proc.Kill())
}

// Start starts the member again, in the same folder and with the same addresses. It
// does not wait for a quorum, as there may be none.
func (m *Member) Start() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check("stop", m.proc.Stop())
	m.check("start again", m.launch())
}

// Ready waits until the member answers with a quorum behind it.
func (m *Member) Ready() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check("wait", m.await())
}

// Pause stops the member in its tracks (SIGSTOP).
func (m *Member) Pause() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check("pause", m.proc.Pause())
}

// Continue lets a paused member go on.
func (m *Member) Continue() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check("continue", m.proc.Resume())
}

func (m *Member) check(what string, err error) {
	if err != nil {
		m.t.Helper()
		m.t.Errorf("etcdtest: %s %s: %v", what, m.name, err)
	}
}

func (m *Member) remove() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check("end", m.proc.Kill())
	if err := os.RemoveAll(m.Dir); err != nil {
		m.t.Errorf("etcdtest: %v", err)
	}
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
