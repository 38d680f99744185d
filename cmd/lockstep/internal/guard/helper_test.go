//go:build unix

package guard

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/childproc"
)

// The test binary plays all three parts: the command (a lock is a clock here, so
// that a test decides what is renewed and lost), its guardian, and children.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case Hidden:
			os.Exit(Main(os.Args[2:]))
		case "command":
			os.Exit(playCommand(os.Args[2], os.Args[3:]))
		case "child":
			playChild(os.Args[2:])
		}
	}
	if d, err := time.ParseDuration(os.Getenv("LOCKSTEP_TEST_HANG")); err == nil {
		hang = d
	}
	childproc.InheritNothingIgnored()
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // else each process ends a second late
	os.Exit(m.Run())
}

// plan is what a played command does; it leaves its outcome in Dir.
type plan struct {
	Dir   string
	TTL   time.Duration
	Renew bool   // else the window is that of the start
	Keep  string // a file to keep open, locked
}

const (
	outcomeFile = "outcome" // a Result
	loseFile    = "lose"    // made by the test: the lock is lost
	staleFile   = "stale"   // made by the test: nothing is renewed any more
	windowFile  = "window"  // the end of the first window on the shared clock, or of the last once stale
)

func playCommand(raw string, argv []string) int {
	var p plan
	if err := json.Unmarshal([]byte(raw), &p); err != nil {
		panic(err)
	}
	signals := Signals()
	var until atomic.Pointer[time.Time]
	renew := func() { u := time.Now().Add(p.TTL); until.Store(&u) }
	renew()
	tell := func() {
		must(os.WriteFile(filepath.Join(p.Dir, windowFile), fmt.Append(nil, onClock(clockOf(false), *until.Load())), 0o600))
	}
	tell()
	lost := make(chan struct{})
	go func() {
		next := time.Now()
		for range time.Tick(2 * time.Millisecond) {
			if p.Renew && time.Now().After(next) {
				renew()
				next = time.Now().Add(p.TTL / 3)
			}
			if _, err := os.Stat(filepath.Join(p.Dir, staleFile)); err == nil && p.Renew {
				p.Renew = false
				tell()
			}
			if _, err := os.Stat(filepath.Join(p.Dir, loseFile)); err == nil {
				close(lost)
				return
			}
		}
	}()
	c := Child{
		Argv: argv, Env: os.Environ(), TTL: p.TTL, Signals: signals, Lost: lost,
		Until: func() time.Time { return *until.Load() },
		Say:   func(s string) { fmt.Fprintln(os.Stderr, "said:", s) },
	}
	if p.Keep != "" {
		f, err := os.OpenFile(p.Keep, os.O_RDWR|os.O_CREATE, 0o600)
		must(err)
		must(unix.Flock(int(f.Fd()), unix.LOCK_EX))
		c.Keep = []*os.File{f}
	}
	res, err := Run(c)
	must(err)
	out, err := json.Marshal(res)
	must(err)
	must(os.WriteFile(filepath.Join(p.Dir, outcomeFile), out, 0o600))
	return res.Code
}

// playChild says who it is, then stamps the clock into its file until it is ended.
// Words: "stubborn" (deaf to TERM), "parent" (starts another like itself).
func playChild(words []string) {
	dir := words[0]
	stubborn := false
	for i, w := range words[1:] {
		switch w {
		case "stubborn":
			stubborn = true
			signal.Ignore(unix.SIGTERM)
		case "parent":
			rest := append([]string{"child", dir}, words[i+2:]...)
			if stubborn {
				rest = append(rest, "stubborn")
			}
			other := exec.Command(os.Args[0], rest...)
			other.Stdout, other.Stderr = os.Stdout, os.Stderr
			must(other.Start())
		}
	}
	stamps, err := os.OpenFile(filepath.Join(dir, "stamps."+strconv.Itoa(os.Getpid())), os.O_CREATE|os.O_WRONLY, 0o600)
	must(err)
	fmt.Println(os.Getpid(), os.Getppid(), unix.Getpgrp())
	for {
		_, _ = stamps.WriteAt(fmt.Appendf(nil, "%020d", clock(clockOf(false))), 0)
		time.Sleep(time.Millisecond)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// played is a running command, its guardian and children as the test sees them.
type played struct {
	t     *testing.T
	dir   string
	cmd   *exec.Cmd
	out   *bufio.Scanner
	guard int
	kids  []int
	err   *strings.Builder
}

// hang is a guard against hanging, never a measure. Mutants set it lower.
var hang = 30 * time.Second

func play(t *testing.T, p plan, argv ...string) *played {
	t.Helper()
	p.Dir = t.TempDir()
	if p.TTL == 0 {
		p.TTL = 10 * time.Second
	}
	raw, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	for i, a := range argv {
		argv[i] = strings.ReplaceAll(a, "DIR", p.Dir)
	}
	c := &played{t: t, dir: p.Dir, err: new(strings.Builder)}
	c.cmd = exec.Command(os.Args[0], append([]string{"command", string(raw)}, argv...)...)
	c.cmd.Stderr = c.err
	c.cmd.WaitDelay = hang
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	c.out = bufio.NewScanner(stdout)
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	// What hangs is ended, so that the test sees the end of its pipes and fails.
	stuck := time.AfterFunc(hang, c.endAll)
	t.Cleanup(func() {
		if !stuck.Stop() {
			t.Error("it hung")
		}
		c.endAll()
		_ = c.cmd.Wait()
	})
	return c
}

func (c *played) endAll() {
	for _, pid := range append(c.kids, c.guard, c.cmd.Process.Pid) {
		if pid > 1 {
			_ = unix.Kill(pid, unix.SIGKILL) // long gone where the test passed
		}
	}
}

// playChildren starts a command with n processes of playChild.
func playChildren(t *testing.T, p plan, n int, words ...string) *played {
	t.Helper()
	c := play(t, p, append([]string{os.Args[0], "child", "DIR"}, words...)...)
	for range n {
		var pid, ppid, pgid int
		if _, err := fmt.Sscan(c.line(), &pid, &ppid, &pgid); err != nil {
			t.Fatal(err)
		}
		c.kids = append(c.kids, pid)
		if pid == pgid {
			c.guard = ppid
		}
	}
	return c
}

func (c *played) line() string {
	c.t.Helper()
	if !c.out.Scan() {
		c.t.Fatalf("the child said nothing: %s", c.err)
	}
	return c.out.Text()
}

// outcome waits for the command's own end.
func (c *played) outcome() Result {
	c.t.Helper()
	_ = c.cmd.Wait() // the outcome says more
	raw, err := os.ReadFile(filepath.Join(c.dir, outcomeFile))
	if err != nil {
		c.t.Fatalf("no outcome: %v: %s", err, c.err)
	}
	var r Result
	if err := json.Unmarshal(raw, &r); err != nil {
		c.t.Fatal(err)
	}
	return r
}

func (c *played) write(name string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), nil, 0o600); err != nil {
		c.t.Fatal(err)
	}
}

func (c *played) signal(pid int, s unix.Signal) {
	c.t.Helper()
	if err := unix.Kill(pid, s); err != nil {
		c.t.Fatal(err)
	}
}

// number reads a file that holds one.
func (c *played) number(name string) int64 {
	c.t.Helper()
	raw, err := os.ReadFile(filepath.Join(c.dir, name))
	if err != nil {
		c.t.Fatal(err)
	}
	n, err := strconv.ParseInt(strings.TrimLeft(string(raw), "0"), 10, 64)
	if err != nil {
		c.t.Fatal(err)
	}
	return n
}

// awaitGone waits until nobody of the children can run.
func (c *played) awaitGone() {
	c.t.Helper()
	for _, pid := range c.kids {
		c.await(func() bool { return !running(pid) }, "process %d is still there", pid)
	}
}

func (c *played) await(done func() bool, format string, args ...any) {
	c.t.Helper()
	for end := time.Now().Add(hang); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			c.t.Fatalf(format, args...)
		}
	}
}

func running(pid int) bool {
	if unix.Kill(pid, 0) == unix.ESRCH {
		return false
	}
	raw, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return !os.IsNotExist(err)
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	return rest == "" || rest[0] != 'Z' && rest[0] != 'X'
}

// lastStamp is when a child last ran, on the shared clock.
func (c *played) lastStamp() (last int64) {
	c.t.Helper()
	for _, pid := range c.kids {
		last = max(last, c.number("stamps."+strconv.Itoa(pid)))
	}
	return last
}
