package childproc

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"
)

// TB is what a server needs of a [testing.T]; the conformance suite's TB has it,
// too. Where it has Skipf, a test skips that does not find what it needs.
type TB interface {
	Helper()
	Cleanup(f func())
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// ErrEnded: the process ended before it served, as it does where another has one of
// its ports.
var ErrEnded = errors.New("the server ended at once")

// Server is a server of a test: one process after another, in a folder that goes with
// the test. Its methods may be called by any goroutine while the test runs; what goes
// wrong in them fails the test that made it.
type Server struct {
	Dir string // where it runs

	t    TB
	name string

	turn sync.Mutex              // whose holder does something to the process
	proc atomic.Pointer[Process] // nil: never started
}

// NewServer makes the folder of a server that has not been started. The name is how
// what goes wrong is said to be this server's.
//
// The folder is not the test's own temporary one: that one's path is made from the
// test's name, and a unix socket's may not be longer than 107 bytes.
func NewServer(t TB, name string) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", name+"-")
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	s := &Server{Dir: dir, t: t, name: name}
	t.Cleanup(s.remove)
	return s
}

// Pid is of the process that runs, or ran last.
func (s *Server) Pid() int { return s.proc.Load().Pid() }

// Ended says whether no process of it runs.
func (s *Server) Ended() bool { return s.proc.Load().Ended() }

// Log is what the server has printed so far.
func (s *Server) Log() string {
	text, err := os.ReadFile(filepath.Join(s.Dir, "log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// Stop ends the server as an operator would: it saves what it is told to save.
func (s *Server) Stop() { s.Change("stop", (*Process).Stop) }

// Kill ends the server as a crash would.
func (s *Server) Kill() { s.Change("kill", (*Process).Kill) }

// Pause stops the process in its tracks (SIGSTOP): its port still accepts
// connections, and nothing is answered.
func (s *Server) Pause() { s.Change("pause", (*Process).Pause) }

// Continue lets a paused process go on.
func (s *Server) Continue() { s.Change("continue", (*Process).Resume) }

// Change does something to the process that runs, or ran last, while no other
// goroutine does. It is for what starters of servers do in more steps than one.
func (s *Server) Change(what string, do func(*Process) error) {
	s.t.Helper()
	s.turn.Lock()
	defer s.turn.Unlock()
	s.Check(what, do(s.proc.Load()))
}

// Check fails the test where there is an error, and shows the log.
func (s *Server) Check(what string, err error) {
	if err != nil {
		s.t.Helper()
		s.t.Errorf("%s: %s: %v\n%s", s.name, what, err, s.Log())
	}
}

// Launch starts a process in the server's folder, and does not wait until it serves.
// It belongs into a Change where others know the server.
func (s *Server) Launch(cmd *exec.Cmd) error {
	if !s.Ended() {
		return fmt.Errorf("process %d still runs", s.Pid())
	}
	cmd.Dir = s.Dir
	proc, err := Launch(cmd)
	if err == nil {
		s.proc.Store(proc)
	}
	return err
}

// Await asks the server until it serves, which is when it is asked without an error.
// Where the process that runs now ends before that, it is [ErrEnded].
func (s *Server) Await(patience time.Duration, ask func() error) error {
	proc := s.proc.Load()
	for deadline := time.Now().Add(patience); ; {
		err := ask()
		switch {
		case err == nil:
			return nil
		case proc.Ended():
			return ErrEnded
		case time.Now().After(deadline):
			return fmt.Errorf("it does not serve within %v: %w", patience, err)
		}
		select {
		case <-proc.Done:
		case <-time.After(5 * time.Millisecond): // between two looks, not instead of one
		}
	}
}

func (s *Server) remove() {
	s.Kill()
	if err := os.RemoveAll(s.Dir); err != nil {
		s.t.Errorf("%s: %v", s.name, err)
	}
}
