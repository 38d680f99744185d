//go:build unix

package main

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// 8 processes increment one file with no locking but ours.
func TestOneProcessAtATimeIncrementsTheFileAndTokensRise(t *testing.T) {
	turns := 200
	if testing.Short() {
		turns = 20
	}
	takeTurns(t, newWorld(t), 8, turns)
}

func TestTheExitCodeIsTheCommands(t *testing.T) {
	w := newWorld(t)
	for _, code := range []int{0, 1, 42, 255} {
		w.expect(code, "lock", "n", "--", "sh", "-c", fmt.Sprint("exit ", code))
	}
	w.expect(128+int(unix.SIGKILL), "lock", "n", "--", "sh", "-c", "kill -9 $$")
	w.expect(128+int(unix.SIGTERM), "lock", "n", "--", "sh", "-c", "kill $$")
}

func TestACommandThatCannotBeStartedHasTheShellsCode(t *testing.T) {
	w := newWorld(t)
	w.write("plain", "no program")
	for code, name := range map[int]string{127: "no-such-command-here", 126: w.path("plain")} {
		_, err := w.expect(code, "lock", "n", "--", name)
		if !oneLine(err) || !strings.Contains(err, name) {
			t.Errorf("it said %q", err)
		}
	}
	w.expect(0, "lock", "-n", "n", "--", "true") // and the lock was given back
}

func oneLine(s string) bool {
	return strings.HasPrefix(s, "lockstep: ") && strings.Count(s, "\n") == 1 && strings.HasSuffix(s, "\n")
}

func TestSignalsArePassedOnToTheWholeGroup(t *testing.T) {
	w := newWorld(t)
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
		// The leader takes note of the signal and goes on; who ends is its child.
		inner := fmt.Sprintf(`trap "echo inner; exit" %d; echo ready; while :; do sleep 0.01; done`, int(s))
		p := w.start("lock", "n", "-c", fmt.Sprintf(`trap "echo outer" %d; sh -c '%s'; exit 7`, int(s), inner))
		p.line()
		p.signal(s)
		if code := p.wait(); code != 7 || p.out.String() != "ready\ninner\nouter\n" {
			t.Errorf("%v: ended with %d, said %q", s, code, p.out)
		}
	}
}

func TestASignalThatTheCommandDoesNotHandleEndsIt(t *testing.T) {
	w := newWorld(t)
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2} {
		p := w.start("lock", "n", "-c", "ulimit -c 0; echo $$; exec sleep 1000")
		command := w.kid(p.line())
		p.signal(s)
		if code := p.wait(); code != 128+int(s) || p.err.String() != "" {
			t.Errorf("%v: ended with %d, said %q", s, code, p.err)
		}
		if command.running() { // QUIT leaves it behind elsewhere
			t.Errorf("%v left the command behind", s)
		}
	}
}

func TestStandardInputOutputAndErrorAreTheCommands(t *testing.T) {
	w := newWorld(t)
	p := w.startWith(func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader("from standard input") },
		"lock", "n", "--", "sh", "-c", "cat; echo error >&2")
	if p.wait() != 0 || p.out.String() != "from standard input" || p.err.String() != "error\n" {
		t.Fatalf("%d, %q, %q", p.code, p.out, p.err)
	}
}

func TestArgumentsArePassedOnAsTheyAre(t *testing.T) {
	w := newWorld(t)
	args := []string{"--", "-n", "--ttl", "a b", "", "*", `"q"`, "lock", "--json", "é\n"}
	out, _ := w.expect(0, append([]string{"lock", "n", "--", "printf", "%s|"}, args...)...)
	if out != strings.Join(args, "|")+"|" {
		t.Fatalf("got %q", out)
	}
}

func TestNamesMayHoldSpacesSlashesAndUTF8(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"a b", "a/b/c", "/a", "größe/名前", "-", "a'b\"c", "%2f", strings.Repeat("x", 512)} {
		out, _ := w.expect(0, "lock", "--ttl", "5", name, "--", "printenv", "LOCKSTEP_NAME")
		if out != name+"\n" {
			t.Errorf("%q became %q", name, out)
		}
	}
}

func TestTheEnvironmentHasNameTokenAndURL(t *testing.T) {
	w := newWorld(t)
	out, _ := w.expect(0, "lock", "a", "b c", "-c", `echo "$LOCKSTEP_NAME"; echo "$LOCKSTEP_TOKEN"; echo "$LOCKSTEP_URL"`)
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 5 || lines[0] != "a" || lines[1] != "b c" || lines[4] != w.url {
		t.Fatalf("got %q", lines)
	}
	for _, l := range lines[2:4] {
		if token, err := strconv.ParseUint(l, 10, 64); err != nil || token == 0 {
			t.Errorf("token %q", l)
		}
	}
	if lines[2] == lines[3] {
		t.Error("two names, one token")
	}
}

func TestTheInnerLockRulesTheEnvironment(t *testing.T) {
	w := newWorld(t)
	out, _ := w.expect(0, "lock", "outer", "--",
		lockstepBinary, "lock", "inner", "-c", `echo "$LOCKSTEP_NAME $LOCKSTEP_TOKEN"; env | grep -cE '^LOCKSTEP_(NAME|TOKEN|URL)='`)
	lines := strings.Split(out, "\n")
	if name, token, _ := strings.Cut(lines[0], " "); name != "inner" || token == "" || lines[1] != "3" {
		t.Fatalf("got %q", out)
	}
}

func TestPasswordsAreSeenNowhere(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"LOCKSTEP_PASSWORD=geheim"}
	if out, _ := w.expect(0, "lock", "n", "--", "env"); strings.Contains(out, "geheim") {
		t.Errorf("the command's environment has it: %s", out)
	}
	for url, code := range map[string]int{
		"redis://u:geheim@127.0.0.1:1": 69, "redis://u:ge@heim@127.0.0.1:1": 69, "redis://:geheim@h/?x=1": 64, "redis://u:geheim@h,i": 64,
		"nosuch://geheim@h": 64, "nosuch://u:ge@heim@h": 64, "file://u:geheim@/x": 64,
	} {
		_, err := w.expect(code, "--engine", url, "lock", "n", "--", "true")
		if strings.Contains(err, "geheim") && !strings.Contains(url, "//geheim@") || strings.Contains(err, "heim@") && strings.Contains(url, ":ge@") {
			t.Errorf("%s: %s", url, err)
		}
	}
	w.write("password", "geheim\nmore\n")
	if _, err := w.expect(64, "--password-file", w.path("password"), "lock", "n", "--", "true"); !strings.Contains(err, "no user or password") {
		t.Errorf("the file engine has no passwords, and should say so: %s", err)
	}
	w.expect(64, "--password-file", w.path("none"), "lock", "n", "--", "true")
}

func TestTryDoesNotWait(t *testing.T) {
	w := newWorld(t)
	p, _ := w.holding(1, []string{"--note", "the first"})
	for _, flag := range []string{"-n", "--try", "-w0"} {
		_, err := w.expect(75, "lock", flag, "n", "--", "true")
		if !oneLine(err) || !strings.Contains(err, "the first") {
			t.Errorf("it does not say who holds: %q", err)
		}
	}
	w.expect(9, "lock", "-n", "-E", "9", "n", "--", "true")
	w.expect(0, "lock", "-n", "--conflict-exit-code", "0", "n", "--", "false")
	p.signal(unix.SIGTERM)
	p.wait()
	w.expect(0, "lock", "-n", "n", "--", "true")
}

func TestATimeoutEndsTheWaitAndThePlaceInLine(t *testing.T) {
	w := newWorld(t)
	w.holding(1, nil)
	for _, d := range []string{"0.05", "50ms"} {
		if _, err := w.expect(75, "lock", "--timeout", d, "n", "--", "true"); !oneLine(err) {
			t.Errorf("it said %q", err)
		}
	}
	if l := w.line("n"); len(l.Waiters) != 0 {
		t.Errorf("left in line: %+v", l.Waiters)
	}
}

func TestAnEngineThatDoesNotAnswerInTimeIsNotALockThatIsHeld(t *testing.T) {
	w := newWorld(t)
	w.expect(0, "lock", "n", "--", "true")
	// Who holds the gate keeps every writer waiting (sqliteengine's gate.go).
	holdGate(t, w)
	if _, err := w.expect(69, "lock", "--timeout", "0.3", "n", "--", "true"); !oneLine(err) {
		t.Errorf("it said %q", err)
	}
	w.expect(69, "put", "--timeout", "0.3", "v", "1")
}

func holdGate(t *testing.T, w *world) {
	t.Helper()
	gate, err := os.Open(w.path("engine/gate"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gate.Close() })
	if err := unix.Flock(int(gate.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
}

func TestASignalWhileWaitingLeavesTheLine(t *testing.T) {
	w := newWorld(t)
	w.holding(1, nil)
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1} {
		p := w.start("lock", "n", "--", "true")
		w.awaitWaiters(1)
		p.signal(s)
		if code := p.wait(); code != 128+int(s) || p.err.String() != "" {
			t.Errorf("%v: ended with %d, said %q", s, code, p.err)
		}
		w.awaitWaiters(0)
	}
}

func TestASignalEndsTheWaitForAnEngineThatDoesNotAnswer(t *testing.T) {
	w := newWorld(t)
	if err := os.Mkdir(w.path("engine"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.write("engine/gate", "")
	holdGate(t, w)
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGINT} {
		p := w.start("lock", "-v", "n", "--", "true")
		w.await(func() bool { return strings.Contains(p.err.String(), "engine file://") }, "its first word")
		p.signal(s)
		if code := p.wait(); code != 128+int(s) || strings.Count(p.err.String(), "\n") != 1 {
			t.Errorf("%v: ended with %d, said %q", s, code, p.err)
		}
	}
}

func TestSeveralNamesAreAllOrNothing(t *testing.T) {
	w := newWorld(t)
	w.holding(1, nil) // of "n"
	w.expect(75, "lock", "-n", "a", "n", "z", "--", "true")
	p := w.start("lock", "z", "n", "a", "--", "true")
	w.awaitWaiters(1)
	if l := w.line("z"); len(l.Holders) != 0 {
		t.Errorf("z is held while n is waited for: %+v", l)
	}
	p.signal(unix.SIGTERM)
	p.wait()
	if l := w.line("a"); len(l.Holders) != 0 {
		t.Errorf("a was left behind: %+v", l)
	}
}

func TestSharedHoldersHoldBesideEachOther(t *testing.T) {
	w := newWorld(t)
	w.holding(1, []string{"--shared"})
	w.expect(0, "lock", "-n", "--shared", "n", "--", "true")
	w.expect(75, "lock", "-n", "--exclusive", "n", "--", "true")
	w.expect(69, "lock", "-n", "n", "--", "true") // a mutex is another kind
}

func TestSlotsBoundHowManyHold(t *testing.T) {
	w := newWorld(t)
	w.holding(1, []string{"--slots", "2"})
	w.holding(1, []string{"--slots", "2"})
	w.expect(75, "lock", "-n", "--slots", "2", "n", "--", "true")
	_, err := w.expect(69, "lock", "-n", "--slots", "3", "n", "--", "true")
	if !strings.Contains(err, "2") || !strings.Contains(err, "3") {
		t.Errorf("it does not name both limits: %s", err)
	}
}

func TestFlagsMayStandAnywhereBeforeTheDashes(t *testing.T) {
	w := newWorld(t)
	url := w.url
	w.url = "nosuch://host"
	for _, args := range [][]string{
		{"--engine", url, "lock", "lock", "--", "true"},
		{"lock", "--engine", url, "lock", "--", "true"},
		{"lock", "lock", "--engine=" + url, "-v", "--ttl", "1m30s", "--", "true"},
		{"-v", "lock", "--engine", url, "lock", "-c", "true"},
	} {
		w.expect(0, args...)
	}
}

func TestMisuseIsOneClearLineAnd64(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{
		{"lock"},
		{"lock", "--", "true"},
		{"lock", "n"},
		{"lock", "n", "true"},
		{"lock", "n", "--"},
		{"lock", "", "--", "true"},
		{"lock", ".n", "--", "true"},
		{"lock", "a\nb", "--", "true"},
		{"lock", strings.Repeat("x", 513), "--", "true"},
		{"lock", "n", "n", "--", "true"},
		{"lock", "n", "-c", "true", "--", "true"},
		{"lock", "--no-such-flag", "n", "--", "true"},
		{"lock", "--ttl", "0.5", "n", "--", "true"},
		{"lock", "--ttl", "25h", "n", "--", "true"},
		{"lock", "--ttl", "soon", "n", "--", "true"},
		{"lock", "--timeout", "-1", "n", "--", "true"},
		{"lock", "--timeout", "NaN", "n", "--", "true"},
		{"lock", "--slots", "0", "n", "--", "true"},
		{"lock", "--slots", "-1", "n", "--", "true"},
		{"lock", "--slots", "2", "--shared", "n", "--", "true"},
		{"lock", "-E", "256", "n", "--", "true"},
		{"lock", "--note", strings.Repeat("x", 4097), "n", "--", "true"},
		{"--engine", "nosuch://host", "lock", "n", "--", "true"},
		{"--engine", "nonsense", "lock", "n", "--", "true"},
		{"--engine", w.url + "?colour=red", "lock", "n", "--", "true"},
		{"no-such-command"},
		{"put"}, {"put", "a"}, {"put", "a", "b", "c", "d"}, {"get"}, {"del"}, {"list"}, {"watch"}, {"status"},
		{"release", "n"},
		{"elect"}, {"elect", "n", "v", "true"}, {"elect", ".n"}, {"elect", "n", strings.Repeat("x", 4097)},
		{"elect", "n", "-c", "true", "--", "true"}, {"elect", "--shared", "n"},
		{"leader"}, {"leader", "n", "m"}, {"leader", "--watch", "--timeout", "1", "n"},
		{"sem", "n", "--", "true"}, {"sem", "n", "-n", "2"}, {"sem", "n", "m", "-n", "2", "--", "true"}, {"sem", "n", "-n", "0", "--", "true"},
		{"vote"}, {"vote", "n", "yes", "--voters", "3"}, {"vote", "n", "yes", "--as", "a"}, {"vote", "n", "--as", "a", "--voters", "3"},
		{"vote", "n", "yes", "--as", "a", "--voters", "0"}, {"vote", "n", "yes", "--as", "a", "--voters", "b,c"},
		{"vote", "n", "yes", "--as", "a", "--voters", "3", "--rule", "some"}, {"vote", "n", "", "--as", "a", "--voters", "3"},
		{"barrier", "n"}, {"barrier", "-n", "2"}, {"barrier", "n", "-n", "0"}, {"barrier", "n", "-n", "1001"},
		{"barrier", "n", "-n", "2", "-E", "-1"}, {"barrier", "n", "-n", "two"}, {"barrier", "n", "-n", "99999999999999999999"},
		{"barrier", "n", "-n", "2", "--timeout", "0"}, {"once", "n", "--timeout", "0", "--", "true"}, {"join", "g", "-w", "0"},
		{"vote", "n", "yes", "--as", "a", "--voters", "3", "--timeout", "0s"},
		{"once", "n"}, {"once", "--", "true"}, {"once", "n", "m", "--", "true"}, {"once", "n", "--keep", "0.5", "--", "true"},
		{"cron", "* * * * *", "n"}, {"cron", "* * * * *", "--", "true"}, {"cron", "* * *", "n", "--", "true"},
		{"cron", "@every 1ms", "n", "--", "true"},
		{"cron", "* * * * *", ".n", "--", "true"}, {"cron", "* * * * *", "n", "--late", "0.5", "--", "true"},
		{"join"}, {"join", "g", "h"}, {"join", "g", "true", "--", "true"}, {"join", "g", "--id", "a\nb"},
		{"join", "g", "--data", strings.Repeat("x", 4097)},
		{"members"}, {"members", "g", "h"}, {"members", "--watch", "--timeout", "1", "g"},
		{"sem", "n", "-n", "2", "--weight", "3", "--", "true"}, {"sem", "n", "-n", "2", "--weight", "0", "--", "true"},
		{"--engine", "nosuch://host", "version", "more"},
	} {
		out, err := w.expect(64, args...)
		if out != "" || !oneLine(err) || strings.Contains(err, "strconv") {
			t.Errorf("%q: %q, %q", args, out, err)
		}
	}
	_, err := w.expect(64, "--json", "lock")
	if !strings.HasPrefix(err, `{"error":"`) || !strings.Contains(err, `"code":64`) {
		t.Errorf("with --json: %s", err)
	}
}

func TestNothingIsSaidWhileWaitingUnlessAsked(t *testing.T) {
	w := newWorld(t)
	first, _ := w.holding(1, []string{"--note", "the first"})
	silent := w.start("lock", "n", "--", "true")
	w.awaitWaiters(1)
	loud := w.start("lock", "-v", "n", "--", "true")
	w.await(func() bool {
		return strings.Contains(loud.err.String(), `waiting for "n", 2nd in line; held by the first`)
	}, "the place in line")
	first.signal(unix.SIGTERM)
	if silent.wait() != 0 || silent.err.String() != "" {
		t.Errorf("ended with %d, said %q", silent.code, silent.err)
	}
	if loud.wait() != 0 || !strings.Contains(loud.err.String(), "token ") {
		t.Errorf("ended with %d, said %q", loud.code, loud.err)
	}
}
