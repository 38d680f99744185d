// Package fleettest is for the examples' tests. Each example is played twice: inside
// the test, on an engine in memory whose misfortunes the test makes (package
// locksteptest) and with time that passes by itself (testing/synctest); and whole, as
// its user starts it.
package fleettest

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/examples/fleet"
	"github.com/lockstep-go/lockstep/locksteptest"
)

// Names are the members'.
var Names = []string{"a", "b", "c"}

// Fleet is three members inside a test.
type Fleet struct {
	t       *testing.T
	clients map[string]*locksteptest.Client
	members sync.WaitGroup

	mu    sync.Mutex
	lines []string // of all, each with its member's name before it, as Whole has them
}

// New is a fleet that has not started. It belongs to the test's bubble.
func New(t *testing.T) *Fleet {
	t.Helper()
	f := &Fleet{t: t, clients: map[string]*locksteptest.Client{}}
	service := locksteptest.NewService(t)
	for _, name := range Names {
		f.clients[name] = service.Client()
	}
	return f
}

// Client is a member's.
func (f *Fleet) Client(name string) *locksteptest.Client { return f.clients[name] }

// Start starts all members. One that crashes is gone, and its session ends.
func (f *Fleet) Start(run func(context.Context, *fleet.Member) error) *Fleet {
	for _, name := range Names {
		c := f.clients[name]
		m := &fleet.Member{Client: c.Client, Name: name, Out: &speaker{f, name}, Crash: func() {
			c.EndSession()
			runtime.Goexit()
		}}
		f.members.Go(func() {
			if err := run(f.t.Context(), m); err != nil {
				f.t.Errorf("%s: %v", name, err)
			}
		})
	}
	return f
}

// Wait waits until all members have ended, and returns what they said.
func (f *Fleet) Wait() []string {
	f.members.Wait()
	return f.Said()
}

// Said is what they said so far.
func (f *Fleet) Said() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.lines)
}

// speaker writes what a member says into the fleet's lines.
type speaker struct {
	f    *Fleet
	name string
}

func (s *speaker) Write(text []byte) (int, error) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.lines = append(s.f.lines, s.name+" | "+strings.TrimSuffix(string(text), "\n"))
	return len(text), nil
}

// Of is what one member said.
func Of(name string, lines []string) (said []string) {
	for _, l := range lines {
		if text, ok := strings.CutPrefix(l, name+" | "); ok {
			said = append(said, text)
		}
	}
	return said
}

// Find is the rest of all lines that go on after a text, whoever said them.
func Find(text string, lines []string) (found []string) {
	for _, l := range lines {
		if _, rest, ok := strings.Cut(l, text); ok {
			found = append(found, rest)
		}
	}
	return found
}

// whole is the environment of a test binary that is the example.
const whole = "EXAMPLE_WHOLE"

// Main is an example's TestMain: the test binary is the example itself where Whole has
// started it.
func Main(m *testing.M, main func()) {
	if os.Getenv(whole) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// guard is against hanging, never a measure of speed.
const guard = time.Minute

// Whole runs the example as its user does, and returns what it printed.
func Whole(t *testing.T) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), guard)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), whole+"=1", "GORACE=atexit_sleep_ms=0")
	cmd.WaitDelay = time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
}
