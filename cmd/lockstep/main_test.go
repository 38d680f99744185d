//go:build unix

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/childproc"
	"github.com/lockstep-go/lockstep/internal/need"
)

// The tests run the real binary, built once, with the race detector where they have
// it. The test binary itself is the child where sh is not enough.

// lockstepBinary is the built command, fastBinary the same without the race
// detector, for a test that starts it more than a thousand times.
var lockstepBinary, fastBinary string

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		playChild(os.Args[2:])
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lockstep-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil { // a test runs it as another user
		panic(err)
	}
	lockstepBinary = filepath.Join(dir, "lockstep")
	fastBinary = lockstepBinary
	if raceBuild {
		build(lockstepBinary, "-race")
		fastBinary = filepath.Join(dir, "lockstep-fast")
	}
	build(fastBinary)
	childproc.InheritNothingIgnored()
	for _, name := range []string{"LOCKSTEP_NAME", "LOCKSTEP_TOKEN", "LOCKSTEP_URL", "LOCKSTEP_PASSWORD"} {
		_ = os.Unsetenv(name)
	}
	if d, err := time.ParseDuration(os.Getenv("LOCKSTEP_TEST_HANG")); err == nil {
		hang = d
	}
	_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // else each process ends a second late
	return m.Run()
}

func build(binary string, flags ...string) {
	args := append(append([]string{"build", "-o", binary}, flags...), ".")
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		panic(fmt.Sprintf("go %v: %v: %s", args, err, out))
	}
}

// playChild says who it is, and stays until it is ended.
// Words: "stubborn" (deaf to TERM), "parent" (starts another like itself).
func playChild(words []string) {
	for i, w := range words {
		switch w {
		case "stubborn":
			signal.Ignore(unix.SIGTERM)
		case "parent":
			other := exec.Command(os.Args[0], append([]string{"child"}, words[i+1:]...)...)
			other.Stdout = os.Stdout
			must(other.Start())
		}
	}
	fmt.Println(os.Getpid(), os.Getppid())
	for {
		time.Sleep(time.Hour)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// hang is a guard against hanging, never a measure of speed. Mutants set it lower.
var hang = 30 * time.Second

// world is one engine directory with the commands that a test runs on it.
type world struct {
	t   *testing.T
	dir string // for the test's own files
	url string
	env []string // added to every command's
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir := t.TempDir()
	return &world{t: t, dir: dir, url: "file://" + filepath.Join(dir, "engine")}
}

func (w *world) path(name string) string { return filepath.Join(w.dir, name) }

func (w *world) write(name, content string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), []byte(content), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) read(name string) string {
	w.t.Helper()
	content, err := os.ReadFile(w.path(name))
	if err != nil {
		w.t.Fatal(err)
	}
	return string(content)
}

// process is one running lockstep.
type process struct {
	w        *world
	cmd      *exec.Cmd
	out, err *output
	done     chan struct{}
	code     int
	hung     bool
}

// start starts lockstep. What hangs is killed, and the test then sees it.
func (w *world) start(args ...string) *process { return w.startWith(nil, args...) }

func (w *world) startWith(change func(*exec.Cmd), args ...string) *process {
	w.t.Helper()
	p := &process{w: w, out: newOutput(), err: newOutput(), done: make(chan struct{})}
	p.cmd = exec.Command(lockstepBinary, args...)
	p.cmd.Env = append(append(os.Environ(), "LOCKSTEP_URL="+w.url), w.env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	p.cmd.WaitDelay = hang
	if change != nil {
		change(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	stuck := time.AfterFunc(hang, func() { _ = p.cmd.Process.Kill() })
	out := p.out // a terminal's is another
	go func() {
		defer close(p.done)
		defer func() { out.close(); p.err.close() }()
		err := p.cmd.Wait()
		p.hung = !stuck.Stop()
		p.code = p.cmd.ProcessState.ExitCode()
		if st, ok := p.cmd.ProcessState.Sys().(syscall.WaitStatus); ok && st.Signaled() {
			p.code = -int(st.Signal())
		}
		if err != nil && !errors.As(err, new(*exec.ExitError)) {
			p.code = -1000
		}
	}()
	w.t.Cleanup(func() {
		_ = p.cmd.Process.Signal(unix.SIGCONT)
		_ = p.cmd.Process.Kill()
		if <-p.done; p.hung {
			w.t.Errorf("%v hung", args)
		}
	})
	return p
}

// run runs lockstep to its end.
func (w *world) run(args ...string) (code int, out, err string) {
	w.t.Helper()
	p := w.start(args...)
	return p.wait(), p.out.String(), p.err.String()
}

// expect runs lockstep, which has to end with this code.
func (w *world) expect(code int, args ...string) (out, err string) {
	w.t.Helper()
	got, out, err := w.run(args...)
	if got != code {
		w.t.Fatalf("lockstep %q ended with %d, not %d\n%s%s", args, got, code, out, err)
	}
	return out, err
}

func (p *process) wait() int {
	p.w.t.Helper()
	<-p.done
	return p.code
}

// runs says whether it has not ended yet.
func (p *process) runs() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

func (p *process) signal(s unix.Signal) {
	p.w.t.Helper()
	if err := unix.Kill(p.cmd.Process.Pid, s); err != nil {
		p.w.t.Fatal(err)
	}
}

// line is the next line of standard output.
func (p *process) line() string {
	p.w.t.Helper()
	text, ok := p.out.line()
	if !ok {
		p.w.t.Fatalf("it ended with %d and no line more: %s", p.wait(), p.err)
	}
	return text
}

// kid is a process that a command has started, as the test sees it.
type kid struct {
	t         *testing.T
	pid, ppid int
}

// kid is the process that said its id. It does not outlive the test.
func (w *world) kid(said string) kid {
	w.t.Helper()
	k := kid{t: w.t}
	if n, err := fmt.Sscan(said, &k.pid, &k.ppid); n == 0 {
		w.t.Fatalf("%v: %q", err, said)
	}
	w.t.Cleanup(func() { _ = unix.Kill(k.pid, unix.SIGKILL) })
	return k
}

// holding starts a lockstep whose command is n played children, and waits for them.
func (w *world) holding(n int, flags []string, words ...string) (p *process, kids []kid) {
	w.t.Helper()
	return w.having(n, append(append([]string{"lock"}, flags...), "n"), words...)
}

// having is the same with any subcommand that runs a command.
func (w *world) having(n int, args []string, words ...string) (p *process, kids []kid) {
	w.t.Helper()
	p = w.start(append(append(args, "--", os.Args[0], "child"), words...)...)
	for range n {
		kids = append(kids, w.kid(p.line()))
	}
	return p, kids
}

// leader and guardian are found by who is whose parent: the guardian is the only
// child that lockstep has.
func guardianOf(t *testing.T, p *process, kids []kid) int {
	t.Helper()
	for _, k := range kids {
		if parent := parentOf(t, k.ppid); parent == p.cmd.Process.Pid {
			return k.ppid
		}
	}
	t.Fatal("no guardian")
	return 0
}

func parentOf(t *testing.T, pid int) int {
	t.Helper()
	out, err := exec.Command(need.Program(t, "ps", "procps"), "-o", "ppid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(strings.TrimSpace(string(out)))
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (k kid) running() bool {
	k.t.Helper()
	ps := need.Program(k.t, "ps", "procps")
	if unix.Kill(k.pid, 0) == unix.ESRCH {
		return false
	}
	out, _ := exec.Command(ps, "-o", "stat=", "-p", strconv.Itoa(k.pid)).Output()
	return len(out) > 0 && out[0] != 'Z'
}

// leaver is a line of sh with a process that says its id, leaves the group, and stays;
// the line goes on once it has left.
func (w *world) leaver(say, stay string) string {
	w.t.Helper()
	return fmt.Sprintf(`%s sh -c 'echo $$ %s; : > "%[3]s"; exec sleep 1000 %[4]s' & until [ -e "%[3]s" ]; do sleep 0.01; done`,
		need.Program(w.t, "setsid", "util-linux"), say, w.path("left"), stay)
}

// await waits for what must come.
func (w *world) await(done func() bool, what string) {
	w.t.Helper()
	for end := time.Now().Add(hang); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("never: %s", what)
		}
	}
}

// line is what status --json says of a name.
type line struct {
	Kind    string
	Holders []place
	Waiters []place
}

type place struct {
	ID, Note, Token string
}

func (w *world) line(name string) line {
	w.t.Helper()
	out, _ := w.expect(0, "status", "--json", name)
	var l line
	if err := json.Unmarshal([]byte(out), &l); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return l
}

// awaitWaiters waits until so many wait for "n".
func (w *world) awaitWaiters(n int) {
	w.t.Helper()
	w.await(func() bool { return len(w.line("n").Waiters) == n }, fmt.Sprintf("%d waiters", n))
}

// output is what a process writes, to be read as it comes or as a whole.
type output struct {
	all  bytes.Buffer
	next bytes.Buffer
	mu   chan struct{} // holds one element: a lock that a select may wait for
	more chan struct{} // closed and replaced at each write
	shut bool
}

func newOutput() *output {
	o := &output{mu: make(chan struct{}, 1), more: make(chan struct{})}
	o.mu <- struct{}{}
	return o
}

func (o *output) Write(p []byte) (int, error) {
	<-o.mu
	defer func() { o.mu <- struct{}{} }()
	o.all.Write(p)
	o.next.Write(p)
	close(o.more)
	o.more = make(chan struct{})
	return len(p), nil
}

func (o *output) close() {
	<-o.mu
	defer func() { o.mu <- struct{}{} }()
	o.shut = true
	close(o.more)
	o.more = make(chan struct{})
}

// line waits for the next whole line; false: there is none.
func (o *output) line() (string, bool) {
	for {
		<-o.mu
		if bytes.IndexByte(o.next.Bytes(), '\n') >= 0 {
			text, _ := o.next.ReadString('\n')
			o.mu <- struct{}{}
			return strings.TrimSuffix(text, "\n"), true
		}
		more, shut := o.more, o.shut
		o.mu <- struct{}{}
		if shut {
			return "", false
		}
		<-more
	}
}

func (o *output) String() string {
	<-o.mu
	defer func() { o.mu <- struct{}{} }()
	return o.all.String()
}

var _ io.Writer = (*output)(nil)
