package main

import (
	"errors"
	"fmt"
	"os/exec"
	"strconv"

	"github.com/lockstep-go/lockstep/internal/redistest"
)

// redisServer is a real server without persistence, on a free port, for one row.
// Where processes are pinned it has the first core for itself, and its clients
// the others: a client that shares a core with its server saves wake-ups that no
// user saves.
type redisServer struct {
	*redistest.Server

	tb *serverTB
}

const redisCore = 0

func startRedis() (s *redisServer, err error) {
	s = &redisServer{tb: &serverTB{}}
	defer func() {
		if f, failed := recover().(serverFailed); failed {
			err = errors.Join(f.err, s.stop())
		}
	}()
	s.Server = redistest.Start(s.tb)
	return s, s.pin()
}

func (s *redisServer) pin() error {
	if onCore(redisCore) == nil {
		return nil
	}
	out, err := exec.Command("taskset", "-a", "-c", "-p", strconv.Itoa(redisCore), strconv.Itoa(s.Pid())).CombinedOutput()
	if err != nil {
		return errors.Join(fmt.Errorf("taskset: %w: %s", err, out), s.stop())
	}
	return nil
}

// clientCore is a command that runs one client beside the server.
func clientCore() []string {
	if cores() < 2 {
		return nil
	}
	return onCore(1)
}

func (s *redisServer) stop() error { return s.tb.end() }

// requests is how many requests clients have sent that use these commands by
// themselves, and not only inside of scripts.
func (s *redisServer) requests(commands ...string) (n int64, err error) {
	all, err := s.Calls()
	for _, c := range commands {
		n += all[c]
	}
	return n, err
}

// serverTB is what redistest wants of a test.
type serverTB struct {
	cleanups []func()
	errs     []error
}

// serverFailed is panicked with, as a test would end here.
type serverFailed struct{ err error }

func (*serverTB) Helper()             {}
func (*serverTB) Logf(string, ...any) {}
func (t *serverTB) Cleanup(f func())  { t.cleanups = append(t.cleanups, f) }
func (t *serverTB) Errorf(format string, args ...any) {
	t.errs = append(t.errs, fmt.Errorf(format, args...))
}
func (t *serverTB) Fatalf(format string, args ...any) {
	panic(serverFailed{fmt.Errorf(format, args...)})
}

func (t *serverTB) end() error {
	for len(t.cleanups) > 0 {
		last := len(t.cleanups) - 1
		f := t.cleanups[last]
		t.cleanups = t.cleanups[:last]
		f()
	}
	return errors.Join(t.errs...)
}

// onRedis is a row that needs a server, and gets one for itself.
type onRedis struct {
	what string
	row  func(s *redisServer) row
}

func (r onRedis) name() string { return r.what }

func (r onRedis) measure(b *bench) (lines []line, err error) {
	s, err := startRedis()
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	return r.row(s).measure(b)
}
