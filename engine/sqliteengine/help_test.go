package sqliteengine

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// hang is when a test gives up; nothing is measured by it.
const hang = 45 * time.Second

// long is a TTL that no test lives to see the end of.
const long = time.Hour

// guarded is the test's context with a guard's end.
func guarded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeoutCause(t.Context(), hang, errors.New("nothing happened for "+hang.String()))
	t.Cleanup(cancel)
	return ctx
}

func open(t testing.TB, dir string, opts ...Option) *Engine {
	t.Helper()
	e, err := Open(guarded(t), dir, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return e
}

func begin(t testing.TB, e *Engine, ttl time.Duration) *Session {
	t.Helper()
	s, err := e.Begin(guarded(t), engine.SessionOptions{TTL: ttl})
	if err != nil {
		t.Fatal(err)
	}
	return s.(*Session)
}

var claims atomic.Int64

// mutex is a new claim on a mutex.
func mutex(name string) *engine.Claim {
	id := fmt.Sprintf("claim-%d-%d", os.Getpid(), claims.Add(1))
	return &engine.Claim{ID: engine.ClaimID(id), Name: name, Kind: engine.Mutex, Shares: 1, Limit: 1}
}

func acquire(t testing.TB, s *Session, c *engine.Claim) engine.Grant {
	t.Helper()
	g, err := s.Acquire(guarded(t), c, false)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func release(t testing.TB, s *Session, c *engine.Claim) {
	t.Helper()
	if removed, err := s.Release(guarded(t), c); err != nil || !removed {
		t.Fatalf("release: %v, %v", removed, err)
	}
}

// granted is the end of an Acquire.
type granted struct {
	engine.Grant
	err error
	at  time.Time
}

// enqueue starts an Acquire and returns when its claim is seen waiting.
func enqueue(t testing.TB, s *Session, c *engine.Claim) <-chan granted {
	t.Helper()
	done := make(chan granted, 1)
	ctx := guarded(t)
	go func() {
		g, err := s.Acquire(ctx, c, false)
		done <- granted{g, err, time.Now()}
	}()
	waitFor(t, s.e, c.Name, func(l engine.Line) bool {
		for _, w := range l.Waiters {
			if w.ID == c.ID {
				return true
			}
		}
		return false
	})
	return done
}

// waitFor waits until a name's line is as wanted.
func waitFor(t testing.TB, e *Engine, name string, want func(engine.Line) bool) {
	t.Helper()
	for line, err := range e.WatchLine(guarded(t), name) {
		if err != nil {
			t.Fatal(err)
		}
		if want(line) {
			return
		}
	}
}

func mustGrant(t testing.TB, done <-chan granted) granted {
	t.Helper()
	g := <-done
	if g.err != nil {
		t.Fatal(g.err)
	}
	return g
}

func mustBe(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error %v, want %v", err, want)
	}
}

// inside runs a transaction on lines.db that no caller of the engine could ask
// for, insideStore one on lockstep.db.
func inside(t interface{ Fatalf(string, ...any) }, e *Engine, f func(*txn) error) {
	write(t, e.writer, f)
}

func insideStore(t interface{ Fatalf(string, ...any) }, e *Engine, f func(*txn) error) {
	write(t, e.commits, f)
}

func write(t interface{ Fatalf(string, ...any) }, w *writer, f func(*txn) error) {
	if err := w.do(context.Background(), f); err != nil {
		t.Fatalf("transaction: %v", err)
	}
}

// steppedClock is the system's clock with both its readings moved apart.
type steppedClock struct{ monoBy, wallBy atomic.Int64 }

func (c *steppedClock) mono() int64 { return systemClock{}.mono() + c.monoBy.Load() }
func (c *steppedClock) wall() time.Time {
	return systemClock{}.wall().Add(time.Duration(c.wallBy.Load()))
}

func withClock(c clock) Option { return func(o *options) { o.clock = c } }
func withBoot(id string) Option {
	return func(o *options) { o.boot = func() (string, error) { return id, nil } }
}
func withNaps(n naps) Option { return func(o *options) { o.naps = n } }

// logBook keeps what an engine logs.
type logBook struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBook) option() Option { return WithLogger(slog.New(slog.NewTextHandler(l, nil))) }

// ours counts the goroutines that run this engine's code.
func ours() int {
	buf := make([]byte, 1<<20)
	n := 0
	for stack := range strings.SplitSeq(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		for _, mine := range []string{"sqliteengine.(*writer)", "sqliteengine.(*waitRoom)", "sqliteengine.hear"} {
			if strings.Contains(stack, mine) {
				n++
				break
			}
		}
	}
	return n
}

// A child is this test binary run again as another process on the same
// directory. It does what it is told, a line a command, and answers each.
type child struct {
	t     testing.TB
	cmd   *exec.Cmd
	in    interface{ Write([]byte) (int, error) }
	out   *bufio.Scanner
	ended bool
}

const childEnv = "SQLITEENGINE_TEST_CHILD"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		serve(dir)
		return
	}
	os.Exit(m.Run())
}

func spawn(t testing.TB, dir string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+dir)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := &child{t: t, cmd: cmd, in: in, out: bufio.NewScanner(out)}
	t.Cleanup(c.kill)
	return c
}

// send gives a command; hear waits for an answer; ask does both.
func (c *child) send(command string) {
	if _, err := fmt.Fprintln(c.in, command); err != nil {
		c.t.Fatal(err)
	}
}

func (c *child) hear() string {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatalf("the child ended: %v", c.out.Err())
	}
	return c.out.Text()
}

// last is an answer, or "" where the child has died.
func (c *child) last() string {
	if c.out.Scan() {
		return c.out.Text()
	}
	return ""
}

func (c *child) ask(format string, args ...any) string {
	c.t.Helper()
	c.send(fmt.Sprintf(format, args...))
	return c.hear()
}

func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatal(err)
	}
}

// kill ends the child as kill -9 does.
func (c *child) kill() {
	if c.ended {
		return
	}
	c.ended = true
	_ = c.cmd.Process.Kill()
	_ = c.cmd.Wait()
}
