package redistest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep/internal/childproc"
	"github.com/lockstep-go/lockstep/internal/need"
)

// patience is how long a server may take to start or to answer.
const patience = childproc.Patience

// Options is how a server is started.
type Options struct {
	Args     []string // as on redis-server's command line, after the defaults
	Env      []string // added to the test's own: NAME=value
	Password string   // of the default user
}

// Server is one server of a test.
type Server struct {
	*childproc.Server

	Addr   string // host:port
	Port   int
	Socket string // path of the unix socket

	exe  string
	opts Options
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
	s := &Server{Server: childproc.NewServer(t, "redis"), exe: exe, opts: o}
	s.Socket = filepath.Join(s.Dir, "s")
	var err error
	for range 20 {
		s.Port = childproc.FreePorts(1)[0]
		s.Addr = childproc.Addr(s.Port)
		if err = s.start(); !errors.Is(err, childproc.ErrEnded) {
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

// Restart stops the server, where it runs, and starts it on the same port, in
// the same folder and with the same options.
func (s *Server) Restart() {
	s.Change("start again", func(p *childproc.Process) error {
		if err := p.Stop(); err != nil {
			return err
		}
		deadline := time.Now().Add(patience)
		err := s.start()
		for errors.Is(err, childproc.ErrEnded) && time.Now().Before(deadline) {
			err = s.start() // somebody had the port for a moment
		}
		return err
	})
}

// start starts the process and polls its socket until it answers: the port may be
// another's at any moment, and the socket is nobody else's.
func (s *Server) start() error {
	if err := s.Launch(s.command()); err != nil {
		return err
	}
	return s.Await(patience, func() error { _, err := s.Do("PING"); return err })
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
	cmd.Env = append(os.Environ(), s.opts.Env...)
	return cmd
}
