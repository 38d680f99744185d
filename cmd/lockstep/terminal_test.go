//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/need"
)

// terminal is a process with a terminal of its own, and the user at it.
type terminal struct {
	*process

	keys *os.File
}

// onTerminal runs a program (lockstep, or a shell that runs it as "$L") on a
// terminal.
func (w *world) onTerminal(argv ...string) *terminal {
	w.t.Helper()
	keys, tty, err := pty.Open()
	need.That(w.t, "a terminal (/dev/ptmx, and /dev/pts mounted)", err)
	w.t.Cleanup(func() { _ = keys.Close() })
	screen := newOutput()
	p := w.startWith(func(cmd *exec.Cmd) {
		cmd.Path, cmd.Args = argv[0], argv
		cmd.Env = append(cmd.Env, "L="+lockstepBinary, "TERM=xterm", "PS1=", "NO_COLOR=1")
		cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
		cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	})
	_ = tty.Close()
	p.out = screen
	go func() { // ends with the terminal, which the cleanup closes
		defer screen.close()
		buf := make([]byte, 4096)
		for {
			n, err := keys.Read(buf)
			_, _ = screen.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	return &terminal{p, keys}
}

func (tm *terminal) press(keys string) {
	tm.w.t.Helper()
	if _, err := tm.keys.WriteString(keys); err != nil {
		tm.w.t.Fatal(err)
	}
}

// sees waits until the screen shows the text.
func (tm *terminal) sees(text string) {
	tm.w.t.Helper()
	tm.w.await(func() bool { return strings.Contains(tm.out.String(), text) }, fmt.Sprintf("%q on the screen; there is %q", text, tm.out))
}

const (
	ctrlC = "\x03"
	ctrlZ = "\x1a"
)

func TestTheCommandReadsFromTheTerminal(t *testing.T) {
	w := newWorld(t)
	tm := w.onTerminal(lockstepBinary, "lock", "n", "-c", `read x; echo "got <$x>"; exit 5`)
	tm.press("hello\n")
	tm.sees("got <hello>")
	if code := tm.wait(); code != 5 {
		t.Errorf("ended with %d", code)
	}
}

func TestTheTerminalComesBackAfterTheCommand(t *testing.T) {
	w := newWorld(t)
	tm := w.onTerminal("/bin/sh", "-c", `"$L" lock n -- true; read x; echo "after <$x>"`)
	tm.press("hello\n")
	tm.sees("after <hello>")
	tm.wait()
}

func TestTheTerminalsModesAreRestoredAfterACommandThatWasKilled(t *testing.T) {
	w := newWorld(t)
	tm := w.onTerminal("/bin/sh", "-c", `"$L" lock n -c 'stty -echo; kill -9 $$'; stty -a; "$L" lock n -- stty -echo; stty -a`)
	tm.wait()
	tm.w.await(func() bool { return strings.Count(tm.out.String(), "extproc") >= 2 }, "both outputs of stty")
	first, second, _ := strings.Cut(tm.out.String(), "echok")
	if strings.Contains(first, "-echo ") {
		t.Errorf("echo stayed off: %s", tm.out)
	}
	if !strings.Contains(second, "-echo ") {
		t.Errorf("what a command did on purpose was undone: %s", tm.out)
	}
}

func TestCtrlCEndsTheCommandAndTheScriptItIsALineOf(t *testing.T) {
	w := newWorld(t)
	tm := w.onTerminal("/bin/sh", "-c", `"$L" lock n -c 'echo ready; exec sleep 1000'; echo "the script goes on"`)
	tm.sees("ready")
	tm.press(ctrlC)
	if code := tm.wait(); code != -int(unix.SIGINT) {
		t.Errorf("the script ended with %d", code)
	}
	if strings.Contains(tm.out.String(), "goes on") {
		t.Error("the script went on as if nothing was")
	}
	w.expect(0, "lock", "--try", "n", "--", "true")
}

func TestCtrlCThatTheCommandHandlesIsItsOwnMatter(t *testing.T) {
	w := newWorld(t)
	tm := w.onTerminal(lockstepBinary, "lock", "n", "-c", `trap "exit 6" INT; echo ready; while :; do sleep 0.01; done`)
	tm.sees("ready")
	tm.press(ctrlC)
	if code := tm.wait(); code != 6 {
		t.Errorf("ended with %d", code)
	}
}

func TestCtrlZDoesNotSuspendACommandThatHoldsALock(t *testing.T) {
	w := newWorld(t)
	tm := w.onTerminal(lockstepBinary, "lock", "n", "-c", `echo ready; read x; echo "got <$x>"`)
	tm.sees("ready")
	tm.press(ctrlZ)
	tm.sees("cannot be suspended while it holds a lock")
	tm.press("hello\n")
	tm.sees("got <hello>")
	if code := tm.wait(); code != 0 {
		t.Errorf("ended with %d", code)
	}
}

func TestACommandInTheBackgroundGetsTheTerminalWithFg(t *testing.T) {
	bash := need.Program(t, "bash", "bash")
	w := newWorld(t)
	tm := w.onTerminal(bash, "--norc", "--noprofile", "-i")
	tm.press("\"$L\" lock n -c 'read x; echo \"got <$x>\"' &\n")
	w.await(func() bool { return len(w.line("n").Holders) == 1 }, "the holder in the background")
	tm.press("fg\n")
	tm.press("hello\n")
	tm.sees("got <hello>")
	tm.press("exit\n")
	tm.wait()
}

func TestWaitingOnATerminalShowsThePlaceAndWhoHolds(t *testing.T) {
	w := newWorld(t)
	holder, _ := w.holding(1, []string{"--note", "the first"})
	tm := w.onTerminal(lockstepBinary, "lock", "n", "--", "echo", "mine")
	tm.sees(`waiting for "n", 1st in line`)
	tm.sees("held by the first for ")
	holder.signal(unix.SIGTERM)
	tm.sees("\r\x1b[Kmine") // the line is wiped before the command writes
	if code := tm.wait(); code != 0 {
		t.Errorf("ended with %d", code)
	}
}

func TestReleaseByForceAsksOnATerminal(t *testing.T) {
	w := newWorld(t)
	holder, _ := w.holding(1, []string{"--note", "the first"})
	no := w.onTerminal(lockstepBinary, "release", "--force", "n")
	no.sees("Take it away? [y/N]")
	no.press("\n")
	if code := no.wait(); code != 75 {
		t.Errorf("after a no it ended with %d", code)
	}
	if l := w.line("n"); len(l.Holders) != 1 {
		t.Fatal("it was taken away after a no")
	}
	yes := w.onTerminal(lockstepBinary, "release", "--force", "n")
	yes.sees("the first")
	yes.press("y\n")
	yes.sees("taken away from the first")
	if code := yes.wait(); code != 0 {
		t.Errorf("ended with %d", code)
	}
	holder.wait()
}
