package zktest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lockstep-go/lockstep/internal/childproc"
)

// patience is how long a server may take to start or to answer.
const patience = 2 * childproc.Patience

// Options is how servers are started.
type Options struct {
	// Tick is ZooKeeper's unit of time: sessions end at multiples of it, and the
	// shortest session is two. 0: 500 ms.
	Tick time.Duration
	// MaxSession is the longest session. 0: an hour.
	MaxSession time.Duration
	// Sync is after how long without a word a follower and its leader give each
	// other up. 0: 20 ticks.
	Sync time.Duration

	Config  []string // more lines of the configuration
	JVM     []string // more arguments of the Java machine, such as -Dname=value
	Proxied bool     // the members of an ensemble reach each other through proxies
}

// Server is one server of a test.
type Server struct {
	*childproc.Server

	ID   int    // 1, 2, …
	Addr string // host:port for clients

	java string
	args []string

	words atomic.Int64 // asked by Word and Packets
}

// Start starts a server that stands alone and waits until it serves.
func Start(t TB, o Options) *Server {
	t.Helper()
	return start(t, o, 1).Servers[0]
}

// newServer makes the folder and the configuration of one member.
func newServer(t TB, id, port int, o Options, members []string) *Server {
	java, path := needed(t)
	name := "zookeeper-" + strconv.Itoa(id)
	s := &Server{Server: childproc.NewServer(t, name), ID: id, Addr: childproc.Addr(port), java: java}
	s.args = slices.Concat([]string{
		"-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dzookeeper.preAllocSize=1024",
	}, o.JVM, []string{"-cp", path, "org.apache.zookeeper.server.quorum.QuorumPeerMain", filepath.Join(s.Dir, "zoo.cfg")})
	for name, text := range map[string]string{
		"zoo.cfg":   strings.Join(slices.Concat(config(s.Dir, port, o), members, o.Config), "\n") + "\n",
		"data/myid": strconv.Itoa(id),
	} {
		file := filepath.Join(s.Dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(text), 0o600)); err != nil {
			t.Fatalf("zktest: %v", err)
		}
	}
	return s
}

func config(dir string, port int, o Options) []string {
	tick := orElse(o.Tick, 500*time.Millisecond)
	ticks := max(orElse(o.Sync, 20*tick)/tick, 2)
	// A leader whose followers came before it listened waits for them for so long,
	// while they elect another: several elections have to fit into patience.
	start := max(ticks, patience/6/tick)
	return []string{
		"dataDir=" + filepath.Join(dir, "data"),
		"clientPort=" + strconv.Itoa(port),
		"clientPortAddress=127.0.0.1",
		"tickTime=" + strconv.FormatInt(tick.Milliseconds(), 10),
		"initLimit=" + strconv.FormatInt(int64(start), 10),
		"syncLimit=" + strconv.FormatInt(int64(ticks), 10),
		"maxSessionTimeout=" + strconv.FormatInt(orElse(o.MaxSession, time.Hour).Milliseconds(), 10),
		"maxClientCnxns=0",
		"admin.enableServer=false",
		"4lw.commands.whitelist=*",
	}
}

func orElse(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}

// Launch starts a server that was killed, with its data, and does not wait.
func (s *Server) Launch() {
	s.Change("start", func(*childproc.Process) error { return s.launch() })
}

// Restart kills the server, where it runs, starts it with its data and waits
// until it serves.
func (s *Server) Restart() {
	s.Change("start again", func(p *childproc.Process) error {
		if err := p.Kill(); err != nil {
			return err
		}
		if err := s.launch(); err != nil {
			return err
		}
		return s.await()
	})
}

// Mode is "standalone", "leader" or "follower"; "": it serves nobody now.
//
// It does not wait long for the answer: a server that is asked while it starts may
// forget that it was (its command fails on a database that is not there yet, and
// the connection stays open).
func (s *Server) Mode() string {
	s.words.Add(1)
	text, err := s.word("srvr", time.Second)
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(text, "Mode: ")
	mode, _, _ := strings.Cut(rest, "\n")
	return mode
}

// Packets is how many requests the server has received, pings among them, and words
// that this package asked not.
func (s *Server) Packets() int {
	words := s.words.Add(1) // mntr's own is among its packets
	return s.figure(s.figures(), "zk_packets_received") - int(words)
}

// Received is Packets, and how many of them were writes. The server counts reads
// together with pings.
func (s *Server) Received() (packets, writes int) {
	words := s.words.Add(1)
	all := s.figures()
	return s.figure(all, "zk_packets_received") - int(words), s.figure(all, "zk_cnt_updatelatency")
}

func (s *Server) figures() string {
	text, err := s.word("mntr", patience)
	s.Check("mntr", err)
	return text
}

func (s *Server) figure(all, name string) int {
	for line := range strings.Lines(all) {
		if f := strings.Fields(line); len(f) == 2 && f[0] == name {
			n, err := strconv.Atoi(f[1])
			s.Check(name, err)
			return n
		}
	}
	s.Check("mntr", fmt.Errorf("no %s in it", name))
	return 0
}

// Word asks one of ZooKeeper's four-letter words.
func (s *Server) Word(word string) (string, error) {
	s.words.Add(1)
	return s.word(word, patience)
}

func (s *Server) word(word string, limit time.Duration) (string, error) {
	c, err := net.DialTimeout("tcp", s.Addr, limit) //nolint:noctx // it has a limit of its own
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	text, err := io.ReadAll(c)
	return string(text), err
}

func (s *Server) launch() error {
	return s.Server.Launch(exec.Command(s.java, s.args...)) //nolint:noctx // it ends with its test, by its process id
}

// await polls until the server serves.
func (s *Server) await() error {
	return s.Await(patience, func() error {
		if s.Mode() == "" {
			return errors.New("it has no mode")
		}
		return nil
	})
}
