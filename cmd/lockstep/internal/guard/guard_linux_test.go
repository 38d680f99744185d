package guard

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/need"
)

// What Linux alone promises (group_linux.go), or shows (/proc).

func TestBothKilledEndsTheLeader(t *testing.T) {
	c := playChildren(t, plan{Renew: true}, 1, "stubborn")
	c.signal(c.cmd.Process.Pid, unix.SIGSTOP) // so that it cannot act in between
	c.signal(c.guard, unix.SIGKILL)
	c.signal(c.cmd.Process.Pid, unix.SIGKILL)
	c.awaitGone()
}

func TestTheChildInheritsNoDescriptorOfOurs(t *testing.T) {
	list := sh("echo /proc/self/fd/*")
	alone, err := exec.Command(list[0], list[1:]...).Output()
	if err != nil {
		t.Fatal(err)
	}
	got := play(t, plan{Renew: true, Keep: filepath.Join(t.TempDir(), "liveness")}, list...).line()
	if want := strings.TrimSpace(string(alone)); got != want {
		t.Fatalf("descriptors %s, without us %s", got, want)
	}
}

func TestTheChildHasDefaultSignalsAndKeepsWhatTheUserIgnored(t *testing.T) {
	raw := `{"Dir":"` + t.TempDir() + `","TTL":10000000000,"Renew":true}`
	ignored := func(before string, command ...string) string {
		t.Helper()
		script := before + ` exec "$@" grep SigIgn /proc/self/status`
		out, err := exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, command...)...).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return string(out)
	}
	for _, before := range []string{"", `trap "" HUP;`} { // nohup
		if got, want := ignored(before, os.Args[0], "command", raw), ignored(before); got != want {
			t.Errorf("after %q it has %s, without us %s", before, got, want)
		}
	}
}

func TestAMemberThatIsOnlyAZombieKeepsNobodyWaiting(t *testing.T) {
	python := need.Program(t, "python3", "python3")
	// The parent leaves the group and never waits for its child, which died in it.
	pidFile := filepath.Join(t.TempDir(), "pid")
	c := play(t, plan{Renew: true, TTL: time.Second}, python, "-c", `
import os, sys, time
if os.fork() == 0:
    if os.fork() == 0:
        os._exit(0)
    os.setsid()
    for fd in (0, 1, 2): os.close(fd)
    open(sys.argv[1] + ".new", "w").write(str(os.getpid())); os.rename(sys.argv[1] + ".new", sys.argv[1])
    time.sleep(1000)
while not os.path.exists(sys.argv[1]):
    time.sleep(0.01)
`, pidFile)
	var pid int
	c.await(func() bool {
		raw, err := os.ReadFile(pidFile)
		n, convErr := strconv.Atoi(string(raw))
		pid = n
		return err == nil && convErr == nil
	}, "the one that leaves the group never did")
	c.kids = append(c.kids, pid)
	c.outcome()
	if !running(pid) {
		t.Error("the one that left the group was ended: not what this test is about")
	}
}
