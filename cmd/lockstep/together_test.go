//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/need"
	"github.com/lockstep-go/lockstep/internal/redistest"
)

// Votes, meetings and what is run once.

// voting starts voters of the vote "v" that say these choices, under ids a, b, c, ….
func (w *world) voting(flags []string, choices ...string) []*process {
	w.t.Helper()
	var procs []*process
	for i, choice := range choices {
		args := []string{"vote", "v", choice, "--as", string(rune('a' + i)), "--voters", strconv.Itoa(len(choices))}
		procs = append(procs, w.start(append(args, flags...)...))
	}
	return procs
}

func decideTogether(t *testing.T, w *world) {
	t.Helper()
	for _, p := range w.voting(nil, "yes", "yes", "no") {
		if code := p.wait(); code != 0 || p.out.String() != "yes\n" || p.err.String() != "" {
			t.Errorf("ended with %d, said %q, %q", code, p.out, p.err)
		}
	}
	// Whoever comes back, or changes its mind, gets the same.
	_, err := w.expect(0, "vote", "v", "no", "--as", "a", "--voters", "3")
	if !oneLine(err) || !strings.Contains(err, "voted before, for yes") {
		t.Errorf("a second mind: %q", err)
	}
	out, _ := w.expect(0, "vote", "--json", "v", "no", "--as", "c", "--voters", "3")
	var d struct {
		Name, Choice, Own string
		Carried           bool
		Votes             []struct{ Voter, Choice string }
	}
	if err := json.Unmarshal([]byte(out), &d); err != nil || d.Name != "v" || d.Choice != "yes" || d.Own != "no" || !d.Carried || len(d.Votes) != 3 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestAllWhoVotePrintOneDecisionThatNeverChanges(t *testing.T) {
	t.Parallel()
	decideTogether(t, newWorld(t))
}

// voted starts a voter and waits until its vote counts.
func (w *world) voted(choice, as string) *process {
	w.t.Helper()
	p := w.start("vote", "-v", "v", choice, "--as", as, "--voters", "3")
	w.await(func() bool { return strings.Contains(p.err.String(), "waits for the decision") }, "the vote of "+as)
	return p
}

func TestAVoterVotesOnceAlsoIfItCrashesAndComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.voted("yes", "a")
	first.signal(unix.SIGKILL)
	first.wait()
	again := w.voted("yes", "a") // were that a vote of its own, it would decide
	for _, id := range []string{"b", "c"} {
		w.voted("no", id)
	}
	if code := again.wait(); code != 0 || again.out.String() != "no\n" {
		t.Errorf("ended with %d, has %q", code, again.out)
	}
}

func TestAVoteThatCannotBeDecidedAnyMoreExits1ForAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, p := range w.voting([]string{"--rule", "all"}, "yes", "no") {
		if code := p.wait(); code != 1 || p.out.String() != "" || !oneLine(p.err.String()) || !strings.Contains(p.err.String(), "1 for yes") {
			t.Errorf("ended with %d, said %q, %q", code, p.out, p.err)
		}
	}
	out, err := w.expect(1, "vote", "--json", "v", "yes", "--as", "a", "--voters", "2", "--rule", "all")
	if !strings.Contains(out, `"carried":false`) || err != "" {
		t.Errorf("as JSON: %s%s", out, err)
	}
}

func TestTheFirstVoteDecidesWhereTheRuleSaysSo(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for i, choice := range []string{"blue", "green"} {
		out, _ := w.expect(0, "vote", "v", choice, "--as", fmt.Sprint(i), "--voters", "5", "--rule", "first")
		if out != "blue\n" {
			t.Errorf("%s voted and got %q", choice, out)
		}
	}
	w.expect(69, "vote", "v", "red", "--as", "x", "--voters", "5") // another rule than the others'
}

func TestAVotesDeadlineEndsItForAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	patient := w.voted("yes", "a")
	_, err := w.expect(1, "vote", "v", "no", "--as", "b", "--voters", "3", "--deadline", "0.1")
	if code := patient.wait(); code != 1 || !oneLine(err) || patient.out.String() != "" {
		t.Errorf("the other ended with %d, has %q; said was %q", code, patient.out, err)
	}
	w.expect(1, "vote", "v", "yes", "--as", "c", "--voters", "3") // too late
}

func TestASignalEndsTheWaitForADecision(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.voted("yes", "a")
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 128+int(unix.SIGTERM) {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
}

func TestATimeoutEndsTheWaitWith75OrACodeOfChoice(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	runner := w.start("once", "o", "-c", "echo ready >&2; exec sleep 1000")
	if ready, _ := runner.err.line(); ready != "ready" {
		t.Fatal(runner.err)
	}
	const timeout = "3" // in which the engine has to answer
	vain := map[*process]int{
		w.start("vote", "v", "yes", "--as", "a", "--voters", "2", "-w", timeout):                 75,
		w.start("barrier", "b", "-n", "2", "--timeout", timeout):                                 75,
		w.start("once", "o", "--timeout", timeout, "--", "true"):                                 75,
		w.start("barrier", "c", "-n", "2", "--timeout", timeout, "--conflict-exit-code", "9"):    9,
		w.start("vote", "x", "yes", "--as", "a", "--voters", "2", "-w", timeout, "-E", "0"):      0,
		w.start("once", "o", "--timeout", timeout, "--conflict-exit-code", "255", "--", "false"): 255,
	}
	for p, code := range vain {
		if got := p.wait(); got != code || p.out.String() != "" || !oneLine(p.err.String()) {
			t.Errorf("%v ended with %d, said %q, %q", p.cmd.Args[1:], got, p.out, p.err)
		}
	}
	w.expect(0, "vote", "v", "yes", "--as", "b", "--voters", "2") // the first one's vote has stayed
}

func TestAnEngineThatDoesNotAnswerIsNotAWaitInVain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.expect(0, "vote", "v", "yes", "--as", "a", "--voters", "1")
	holdGate(t, w)
	for _, args := range [][]string{
		{"vote", "w", "yes", "--as", "b", "--voters", "2"}, {"barrier", "b", "-n", "2"}, {"once", "o", "-c", "true"},
	} {
		if _, err := w.expect(69, append(args, "--timeout", "0.3")...); !oneLine(err) {
			t.Errorf("it said %q", err)
		}
	}
}

// arriving starts some who arrive at the barrier "b", and then look whether "all" is
// there, which comes with the last.
func (w *world) arriving(n, of int) []*process {
	w.t.Helper()
	var procs []*process
	for range n {
		procs = append(procs, w.startWith(func(cmd *exec.Cmd) {
			cmd.Path, cmd.Dir = "/bin/sh", w.dir
			cmd.Args = []string{"sh", "-c", fmt.Sprintf(`"%s" barrier b -n %d && cat all`, lockstepBinary, of)}
		}))
	}
	w.run("barrier", "elsewhere", "-n", "2", "--timeout", "0.3") // a chance to go too early
	return procs
}

func meet(t *testing.T, w *world) {
	t.Helper()
	for range 2 {
		first := w.arriving(2, 3)
		w.write("all", "all are here\n")
		out, _ := w.expect(0, "barrier", "--json", "b", "-n", "3")
		if out != `{"name":"b","n":3}`+"\n" {
			t.Errorf("it said %s", out)
		}
		for _, p := range first {
			if code := p.wait(); code != 0 || p.out.String() != "all are here\n" || p.err.String() != "" {
				t.Errorf("ended with %d, said %s%s", code, p.out, p.err)
			}
		}
		must(os.Remove(w.path("all")))
	}
}

func TestABarrierLetsAllGoOnceAllHaveArrived(t *testing.T) {
	t.Parallel()
	meet(t, newWorld(t))
}

func TestWhoIsEndedAtABarrierHasNotArrived(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, s := range []unix.Signal{unix.SIGTERM, unix.SIGKILL} {
		leaver := w.start("barrier", "-v", "b", "-n", "3")
		w.await(func() bool { return strings.Contains(leaver.err.String(), "engine file://") }, "its first word")
		w.run("barrier", "elsewhere", "-n", "2", "--timeout", "0.3") // a chance to arrive
		leaver.signal(s)
		if code := leaver.wait(); s == unix.SIGTERM && code != 128+int(s) {
			t.Errorf("ended with %d", code)
		}
	}
	first := w.arriving(2, 3)
	w.write("all", "")
	w.expect(0, "barrier", "b", "-n", "3")
	for _, p := range first {
		if code := p.wait(); code != 0 {
			t.Errorf("it went on without the third: %s", p.err)
		}
	}
}

func TestOnceRunsOneCommandAndAllPrintItsOutput(t *testing.T) {
	t.Parallel()
	runOnce(t, newWorld(t))
}

func runOnce(t *testing.T, w *world) {
	t.Helper()
	script := fmt.Sprintf(`echo begun >> %s; echo "result of $LOCKSTEP_NAME"; echo "token $LOCKSTEP_TOKEN" >&2`, w.path("runs"))
	var procs []*process
	for range 5 {
		procs = append(procs, w.start("once", "o", "-c", script))
	}
	told := 0
	for _, p := range procs {
		if code := p.wait(); code != 0 || p.out.String() != "result of o\n" {
			t.Errorf("ended with %d, printed %q, %s", code, p.out, p.err)
		}
		told += strings.Count(p.err.String(), "token ")
	}
	out, _ := w.expect(0, "once", "--json", "o", "-c", script)
	if out != `{"name":"o","ran":false,"value":"result of o\n"}`+"\n" {
		t.Errorf("who comes later gets %s", out)
	}
	if runs := w.read("runs"); runs != "begun\n" || told != 1 {
		t.Errorf("it ran %d times, and %d had its standard error", strings.Count(runs, "\n"), told)
	}
}

func TestACommandThatFailsIsNoResultAndTheNextBegins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, err := w.expect(3, "once", "o", "-c", "echo half; exit 3")
	if out != "half\n" || err != "" {
		t.Errorf("it said %q, %q", out, err)
	}
	w.expect(127, "once", "o", "--", "no-such-command-here")
	w.expect(128+int(unix.SIGKILL), "once", "o", "-c", "kill -9 $$")
	if out, _ = w.expect(0, "once", "o", "--", "echo", "whole"); out != "whole\n" {
		t.Errorf("got %q", out)
	}
	if out, _ = w.expect(0, "once", "o", "--", "echo", "later"); out != "whole\n" {
		t.Errorf("later: %q", out)
	}
}

func TestAKilledRunnerIsReplacedAfterItsCommandIsGone(t *testing.T) {
	t.Parallel()
	ps := need.Program(t, "ps", "procps")
	w := newWorld(t)
	var pid int
	var first, second uint64
	p := w.start("once", "--ttl", "2", "o", "-c", `trap "" TERM; echo "$$ $LOCKSTEP_TOKEN" >&2; while :; do sleep 0.01; done`)
	said, _ := p.err.line()
	if _, err := fmt.Sscan(said, &pid, &first); err != nil {
		t.Fatalf("%v: %q", err, said)
	}
	// What the next one runs looks whether the first is still there.
	next := w.start("once", "o", "-c", fmt.Sprintf(`%s -o stat= -p %d | grep -v ^Z; echo "$LOCKSTEP_TOKEN"`, ps, pid))
	p.signal(unix.SIGKILL)
	if code := next.wait(); code != 0 {
		t.Fatalf("ended with %d: %s", code, next.err)
	}
	if n, err := fmt.Sscanf(next.out.String(), "%d\n", &second); n != 1 || err != nil || second <= first {
		t.Errorf("after token %d it printed %q", first, next.out)
	}
}

func TestASignalIsPassedOnToWhatOnceRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("once", "o", "-c", `trap "echo stopped; exit 4" TERM; echo ready >&2; while :; do sleep 0.01; done`)
	if ready, _ := p.err.line(); ready != "ready" {
		t.Fatal(p.err)
	}
	next := w.start("once", "o", "--", "echo", "mine")
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 4 || p.out.String() != "stopped\n" {
		t.Errorf("ended with %d, printed %q", code, p.out)
	}
	if code := next.wait(); code != 0 || next.out.String() != "mine\n" {
		t.Errorf("the next ended with %d, printed %q", code, next.out)
	}
}

// suspendedInLine has a waiter with -v lose its place. Nobody sees from outside whether
// it is in line yet: if it was not, this is done again.
func (p *process) suspendedInLine(ttl time.Duration) {
	p.w.t.Helper()
	p.w.await(func() bool {
		p.signal(unix.SIGSTOP)
		time.Sleep(2 * ttl)
		p.signal(unix.SIGCONT)
		time.Sleep(ttl / 2)
		return strings.Contains(p.err.String(), "waiting again") || !p.runs()
	}, "it waits again")
}

// One that was suspended while it waited still wants the result (^Z, a laptop's lid).
func TestWhoWaitsForAnothersResultAndWasSuspendedWaitsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	runner := w.start("once", "o", "-c", fmt.Sprintf(`echo ready >&2; until [ -e "%s" ]; do sleep 0.05; done; echo its`, w.path("go")))
	if ready, _ := runner.err.line(); ready != "ready" {
		t.Fatal(runner.err)
	}
	p := w.start("once", "--ttl", "1", "-v", "o", "--", "echo", "mine")
	p.suspendedInLine(time.Second)
	w.write("go", "")
	if code := p.wait(); code != 0 || p.out.String() != "its\n" {
		t.Errorf("ended with %d, printed %q: %s", code, p.out, p.err)
	}
}

// What a command writes may be a secret.
func TestNoOutputStaysBehindWhereOnceIsKilled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.Mkdir(w.path("tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	w.env = []string{"TMPDIR=" + w.path("tmp")}
	p := w.start("once", "o", "-c", "echo secret; echo $$ >&2; exec sleep 1000")
	said, _ := p.err.line()
	w.kid(said)
	p.signal(unix.SIGKILL)
	p.wait()
	if left, err := os.ReadDir(w.path("tmp")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, %v", left, err)
	}
}

func TestALeaseThatIsLostIsSaidInOneWay(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("once", "--ttl", "1", "o", "-c", "echo half; echo $$ >&2; exec sleep 1000")
	said, _ := p.err.line()
	command := w.kid(said)
	p.signal(unix.SIGSTOP)
	w.expect(0, "once", "o", "--", "true") // the next has its turn: the lease is over
	if command.running() {
		t.Error("the command runs beside the next")
	}
	p.signal(unix.SIGCONT)
	if code := p.wait(); code != 70 || p.out.String() != "half\n" {
		t.Errorf("ended with %d, printed %q", code, p.out)
	}
	_, why, _ := strings.Cut(p.err.String(), "\n") // after the id
	if !oneLine(why) || strings.Count(why, "lost") != 1 {
		t.Errorf("it said %q", why)
	}
}

func TestASignalEndsTheWaitForAnothersResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	runner := w.start("once", "o", "-c", "echo ready >&2; exec sleep 1000")
	if ready, _ := runner.err.line(); ready != "ready" {
		t.Fatal(runner.err)
	}
	p := w.start("once", "-v", "o", "--", "true")
	w.await(func() bool { return strings.Contains(p.err.String(), "engine file://") }, "its first word")
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 128+int(unix.SIGTERM) {
		t.Errorf("ended with %d, said %s", code, p.err)
	}
}

// Whoever leaves the group keeps the output open, and is not waited for.
func TestOnceDoesNotWaitForWhoLeftTheGroup(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("once", "o", "-c", w.leaver(">&2", "2>/dev/null")+"; echo done")
	said, _ := p.err.line()
	w.kid(said)
	if code := p.wait(); code != 0 || p.out.String() != "done\n" {
		t.Errorf("ended with %d, printed %q", code, p.out)
	}
}

func TestAResultThatIsTooLongIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	out, err := w.expect(64, "once", "o", "--", "head", "-c", "900000", "/dev/zero")
	if len(out) != 900000 || !oneLine(err) {
		t.Errorf("%d bytes, and it said %q", len(out), err)
	}
}

func TestOverRedisVotesMeetingsAndWhatIsRunOnce(t *testing.T) {
	t.Parallel()
	w, _ := newRedisWorld(t, redistest.Options{})
	decideTogether(t, w)
	meet(t, w)
	runOnce(t, w)
}
