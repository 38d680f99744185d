//go:build unix

package guard

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func sh(script string) []string { return []string{"/bin/sh", "-c", script} }

func TestTheChildsCodeIsTheResult(t *testing.T) {
	r := play(t, plan{Renew: true}, sh("exit 7")...).outcome()
	if r.Code != 7 || r.Cause != ByItself {
		t.Fatalf("got %+v", r)
	}
}

func TestAChildEndedByASignalIs128AndTheSignal(t *testing.T) {
	r := play(t, plan{Renew: true}, sh("kill -9 $$")...).outcome()
	if r.Code != 137 || r.Cause != ByItself {
		t.Fatalf("got %+v", r)
	}
}

func TestWhatCannotBeStartedHasTheShellsCodes(t *testing.T) {
	dir := t.TempDir()
	plain := filepath.Join(dir, "plain")
	if err := os.WriteFile(plain, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, code := range map[string]int{"no-such-command-here": 127, dir + "/none": 127, plain: 126, dir: 126, "": 127} {
		r := play(t, plan{Renew: true}, name).outcome()
		if r.Code != code || r.NotStarted == "" {
			t.Errorf("%q: got %+v, want %d", name, r, code)
		}
	}
}

func TestAScriptWithoutAFirstLineRunsInTheShell(t *testing.T) {
	path := filepath.Join(t.TempDir(), "script")
	if err := os.WriteFile(path, []byte(`exit "$1"`), 0o700); err != nil {
		t.Fatal(err)
	}
	if r := play(t, plan{Renew: true}, path, "9").outcome(); r.Code != 9 {
		t.Fatalf("got %+v", r)
	}
}

func TestTheChildLeadsAGroupOfItsOwn(t *testing.T) {
	c := playChildren(t, plan{Renew: true}, 1)
	for _, other := range []int{c.cmd.Process.Pid, c.guard} {
		if g, err := unix.Getpgid(other); err != nil || g == c.kids[0] {
			t.Errorf("process %d is in the child's group (%v)", other, err)
		}
	}
	if a, _ := unix.Getpgid(c.cmd.Process.Pid); a == c.guard {
		t.Error("the guardian shares the command's group: kill -9 of that would end both")
	}
}

func TestSignalsReachTheWholeGroup(t *testing.T) {
	c := playChildren(t, plan{Renew: true}, 2, "parent")
	c.signal(c.cmd.Process.Pid, unix.SIGHUP)
	c.awaitGone()
	if r := c.outcome(); r.Code != 128+int(unix.SIGHUP) || r.Cause != ByItself {
		t.Fatalf("got %+v", r)
	}
}

// S1: the child is dead before the window closes, on one clock.
func TestWithoutRenewalTheGroupIsDeadBeforeTheWindowCloses(t *testing.T) {
	for name, words := range map[string][]string{"obeys TERM": {"parent"}, "ignores TERM": {"stubborn", "parent"}} {
		t.Run(name, func(t *testing.T) {
			c := playChildren(t, plan{Renew: true, TTL: time.Second}, 2, words...)
			c.write(staleFile)
			r := c.outcome()
			c.awaitGone()
			if r.Cause != WindowClosed {
				t.Errorf("got %+v", r)
			}
			if late := c.lastStamp() - c.number(windowFile); late >= 0 {
				t.Errorf("a child ran %v after the window closed", time.Duration(late))
			}
		})
	}
}

func TestRenewalKeepsTheChildAlive(t *testing.T) {
	c := playChildren(t, plan{Renew: true, TTL: time.Second}, 1)
	first := c.number(windowFile)
	c.await(func() bool { return clock(clockOf(false)) > first+int64(time.Second) }, "the clock stands still")
	if !running(c.kids[0]) {
		t.Fatalf("it was ended: %+v", c.outcome())
	}
}

func TestALostLockEndsTheGroupEvenIfItIgnoresTERM(t *testing.T) {
	c := playChildren(t, plan{Renew: true, TTL: time.Hour}, 2, "stubborn", "parent")
	c.write(loseFile)
	c.awaitGone()
	if r := c.outcome(); r.Cause != LockLost {
		t.Fatalf("got %+v", r)
	}
}

func TestTheCommandKilledEndsTheGroupAtOnce(t *testing.T) {
	// The window is open for an hour: it is the end of the pipe that tells.
	c := playChildren(t, plan{Renew: true, TTL: time.Hour}, 2, "parent")
	c.signal(c.cmd.Process.Pid, unix.SIGKILL)
	c.awaitGone()
}

func TestTheCommandKilledEndsAGroupThatIgnoresTERM(t *testing.T) {
	c := playChildren(t, plan{Renew: true, TTL: time.Second}, 2, "stubborn", "parent")
	c.signal(c.cmd.Process.Pid, unix.SIGKILL)
	c.awaitGone()
}

func TestTheCommandsWholeGroupKilledEndsTheGroup(t *testing.T) {
	c := playChildren(t, plan{Renew: true}, 1)
	if err := unix.Kill(c.cmd.Process.Pid, unix.SIGKILL); err != nil { // exec.Cmd shares our group: by pid
		t.Fatal(err)
	}
	if g, _ := unix.Getpgid(c.guard); g != c.guard {
		t.Errorf("the guardian is in group %d: it would have died too", g)
	}
	c.awaitGone()
}

// The descriptor outlives the group, so that the next holder does too.
func TestTheGuardianKeepsTheDescriptorUntilTheGroupIsGone(t *testing.T) {
	keep := filepath.Join(t.TempDir(), "liveness")
	c := playChildren(t, plan{Renew: true, TTL: time.Second, Keep: keep}, 2, "stubborn", "parent")
	c.signal(c.cmd.Process.Pid, unix.SIGKILL)
	f, err := os.Open(keep)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for unix.Flock(int(f.Fd()), unix.LOCK_SH) == unix.EINTR {
	}
	for _, pid := range c.kids {
		if running(pid) {
			t.Errorf("the lock was free while process %d still ran", pid)
		}
	}
}

func TestTheCommandFrozenEndsTheGroupInTimeAndTellsAfterwards(t *testing.T) {
	c := playChildren(t, plan{TTL: 2 * time.Second}, 2, "stubborn", "parent")
	c.signal(c.cmd.Process.Pid, unix.SIGSTOP)
	c.awaitGone()
	if late := c.lastStamp() - c.number(windowFile); late >= 0 {
		t.Errorf("a child ran %v after the window closed", time.Duration(late))
	}
	c.signal(c.cmd.Process.Pid, unix.SIGCONT)
	if r := c.outcome(); r.Cause != WindowClosed {
		t.Fatalf("got %+v", r)
	}
}

func TestTheGuardianKilledLeavesTheGroupToTheCommand(t *testing.T) {
	c := playChildren(t, plan{Renew: true, TTL: 2 * time.Second}, 2, "stubborn", "parent")
	c.signal(c.guard, unix.SIGKILL)
	r := c.outcome()
	for _, pid := range c.kids {
		if running(pid) {
			t.Errorf("process %d outlived the command's return", pid)
		}
	}
	if r.Cause != GuardianDied {
		t.Fatalf("got %+v", r)
	}
}

func TestAFrozenGuardianDoesNotProlongTheChild(t *testing.T) {
	c := playChildren(t, plan{TTL: 2 * time.Second}, 2, "stubborn", "parent")
	c.signal(c.guard, unix.SIGSTOP)
	r := c.outcome()
	c.awaitGone()
	if r.Cause != WindowClosed {
		t.Errorf("got %+v", r)
	}
	if late := c.lastStamp() - c.number(windowFile); late >= 0 {
		t.Errorf("a child ran %v after the window closed", time.Duration(late))
	}
}

func TestAFrozenGuardianDoesNotKeepTheChildOfALostLock(t *testing.T) {
	c := playChildren(t, plan{Renew: true, TTL: time.Hour}, 1, "stubborn")
	c.signal(c.guard, unix.SIGSTOP)
	c.write(loseFile)
	if r := c.outcome(); r.Cause != LockLost {
		t.Fatalf("got %+v", r)
	}
	c.awaitGone()
}

// A guardian that was stopped for longer than a window goes by the newest order.
func TestAGuardianThatWasFrozenReadsItsOrdersBeforeItActs(t *testing.T) {
	c := playChildren(t, plan{Renew: true, TTL: time.Second}, 1)
	first := c.number(windowFile)
	c.signal(c.guard, unix.SIGSTOP)
	c.await(func() bool { return clock(clockOf(false)) > first+int64(100*time.Millisecond) }, "the clock stands still")
	c.signal(c.guard, unix.SIGCONT)
	c.signal(c.cmd.Process.Pid, unix.SIGINT) // an order after it thawed
	if r := c.outcome(); r.Code != 128+int(unix.SIGINT) || r.Cause != ByItself {
		t.Fatalf("the thawed guardian ended a child whose lock was renewed: %+v", r)
	}
}

func TestTheGuardianHeedsNoOtherSignal(t *testing.T) {
	c := playChildren(t, plan{Renew: true}, 1)
	for _, s := range []unix.Signal{
		unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGPIPE,
	} {
		c.signal(c.guard, s)
	}
	c.signal(c.cmd.Process.Pid, unix.SIGINT) // it still carries out orders
	if r := c.outcome(); r.Code != 128+int(unix.SIGINT) || r.Cause != ByItself {
		t.Fatalf("got %+v", r)
	}
}

func TestWhoIsLeftOfTheGroupWhenTheLeaderEndsIsEndedToo(t *testing.T) {
	c := play(t, plan{Renew: true, TTL: time.Second}, sh(`(trap "" TERM; while :; do sleep 1; done) & echo $!; exit 3`)...)
	left, err := strconv.Atoi(c.line())
	if err != nil {
		t.Fatal(err)
	}
	c.kids = append(c.kids, left)
	if r := c.outcome(); r.Code != 3 || r.Cause != ByItself {
		t.Errorf("got %+v", r)
	}
	if running(left) {
		t.Error("it runs without the lock")
	}
}

func TestWhoIsAboutToEndAfterTheLeaderMayFinish(t *testing.T) {
	// As the last reader of a pipe has: TERM at once would lose what it holds.
	c := play(t, plan{Renew: true}, sh(`(trap "echo ended; exit" TERM; sleep 0.05; echo finished) & exit 0`)...)
	if got := c.line(); got != "finished" {
		t.Fatalf("it said %q", got)
	}
}

func TestTheChildInheritsTheUsersDescriptors(t *testing.T) {
	// Numbers 3 and 4 are what make's jobserver uses.
	dir := t.TempDir()
	for _, n := range []string{"3", "4"} {
		if err := os.WriteFile(filepath.Join(dir, n), []byte("of the user "+n), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	raw := `{"Dir":"` + dir + `","TTL":10000000000,"Renew":true}`
	script := `"$0" command "$1" /bin/sh -c 'cat <&3; cat <&4' 3<"$2/3" 4<"$2/4"`
	out, err := exec.Command("/bin/sh", "-c", script, os.Args[0], raw, dir).CombinedOutput()
	if err != nil || string(out) != "of the user 3of the user 4" {
		t.Fatalf("%v: %s", err, out)
	}
}
