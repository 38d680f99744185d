package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/lockstep-go/lockstep/internal/childproc"
	"github.com/lockstep-go/lockstep/internal/need"
)

// patience is how long a server may take to start or to answer.
const patience = childproc.Patience

// Ports are taken below the range from which systems take the local ports of
// connections: a client that tries a port there while the server is down can
// meet itself.
const firstPort, ports = 11000, 20000

// Options is how a server is started.
type Options struct {
	Args     []string // as on redis-server's command line, after the defaults
	Env      []string // added to the test's own: NAME=value
	Password string   // of the default user
}

// Server is one server of a test. Its methods may be called by any goroutine
// while the test runs; what goes wrong in them fails the test that started it.
type Server struct {
	Addr   string // host:port
	Port   int
	Socket string // path of the unix socket
	Dir    string // where it runs

	t    TB
	exe  string
	opts Options

	mu   sync.Mutex
	proc *childproc.Process // nil: never started
}

// Start starts a server with these arguments after the defaults.
func Start(t TB, args ...string) *Server {
	t.Helper()
	return StartWith(t, Options{Args: args})
}

// StartWith starts a server and waits until it answers.
func StartWith(t TB, o Options) *Server {
	t.Helper()
	exe := need.Program(t, "redis-server", "redis-server")
	// Not the test's own temporary folder: its path is made from the test's name,
	// and a unix socket's may not be longer than 107 bytes.
	dir, err := os.MkdirTemp("", "redis")
	if err != nil {
		t.Fatalf("redistest: %v", err)
	}
	s := &Server{t: t, exe: exe, opts: o, Dir: dir, Socket: filepath.Join(dir, "s")}
	t.Cleanup(s.remove)
	for range 20 {
		s.Port = firstPort + rand.IntN(ports)
		s.Addr = net.JoinHostPort("127.0.0.1", strconv.Itoa(s.Port))
		if err = s.start(); !errors.Is(err, errEnded) {
			break // it runs, or there is no use in trying another port
		}
	}
	if err != nil {
		t.Fatalf("redistest: %v\n%s", err, s.Log())
	}
	return s
}

// URL is the server's address as Lockstep and most clients read it.
func (s *Server) URL() string {
	if s.opts.Password != "" {
		return "redis://:" + s.opts.Password + "@" + s.Addr
	}
	return "redis://" + s.Addr
}

// Pid is of the process that runs, or ran last.
func (s *Server) Pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proc.Pid()
}

// Log is what the server has printed so far.
func (s *Server) Log() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Stop ends the server as an operator would: it saves what it is told to save.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check("stop", s.proc.Stop())
}

// Kill ends the server as a crash would.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check("kill", s.proc.Kill())
}

// Restart stops the server, where it runs, and starts it on the same port, in
// the same folder and with the same options.
func (s *Server) Restart() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.proc.Stop(); err != nil {
		s.check("stop", err)
		return
	}
	deadline := time.Now().Add(patience)
	err := s.start()
	for errors.Is(err, errEnded) && time.Now().Before(deadline) {
		err = s.start() // somebody had the port for a moment
	}
	s.check("start again", err)
}

// Pause stops the process in its tracks (SIGSTOP): its port still accepts
// connections, and nothing is answered.
func (s *Server) Pause() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check("pause", s.proc.Pause())
}

// Continue lets a paused process go on.
func (s *Server) Continue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check("continue", s.proc.Resume())
}

func (s *Server) check(what string, err error) {
	if err != nil {
		s.t.Helper()
		s.t.Errorf("redistest: %s: %v\n%s", what, err, s.Log())
	}
}

func (s *Server) remove() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.check("end", s.proc.Kill())
	if err := os.RemoveAll(s.Dir); err != nil {
		s.t.Errorf("redistest: %v", err)
	}
}

func (s *Server) logFile() string { return filepath.Join(s.Dir, "log") }

// errEnded: the process ended before it answered, as it does where another has
// its port.
var errEnded = errors.New("redis-server ended at once")

// start starts the process and polls its socket until it answers.
func (s *Server) start() error {
	proc, err := childproc.Launch(s.command())
	if err != nil {
		return err
	}
	s.proc = proc
	deadline := time.Now().Add(patience)
	for {
		_, err := s.Do("PING")
		switch {
		case err == nil:
			return nil
		case proc.Ended():
			return errEnded
		case time.Now().After(deadline):
			return fmt.Errorf("no answer to PING within %v: %w", patience, err)
		}
		select {
		case <-proc.Done:
		case <-time.After(2 * time.Millisecond): // between two looks, not instead of one
		}
	}
}

func (s *Server) command() *exec.Cmd {
	args := []string{
		"--port", strconv.Itoa(s.Port), "--bind", "127.0.0.1", "--unixsocket", s.Socket,
		"--dir", s.Dir, "--daemonize", "no", "--save", "", "--appendonly", "no",
	}
	if s.opts.Password != "" {
		args = append(args, "--requirepass", s.opts.Password)
	}
	cmd := exec.Command(s.exe, slices.Concat(args, s.opts.Args)...) //nolint:noctx // it ends with its test, by its process id
	cmd.Dir = s.Dir
	cmd.Env = append(os.Environ(), s.opts.Env...)
	return cmd
}
