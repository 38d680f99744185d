//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/redistest"
)

// leads waits until the election "e" has this leader.
func (w *world) leads(value string) {
	w.t.Helper()
	w.await(func() bool { _, out, _ := w.run("leader", "e"); return out == value+"\n" }, value+" leads")
}

// awaitLine waits until so many wait for a name.
func (w *world) awaitLine(name string, n int) {
	w.t.Helper()
	w.await(func() bool { return len(w.line(name).Waiters) == n }, fmt.Sprintf("%d in the line of %s", n, name))
}

func TestCandidatesLeadOneAfterTheOtherWithRisingTokens(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const script = `echo "$LOCKSTEP_NAME $LOCKSTEP_TOKEN"; read x < go`
	must(unix.Mkfifo(w.path("go"), 0o600))
	var procs []*process
	for i := range 3 {
		p := w.start("elect", "e", fmt.Sprint("host-", i), "-c", "cd "+w.dir+"; "+script)
		procs = append(procs, p)
		if i == 0 {
			w.leads("host-0")
		} else {
			w.awaitLine("e", i)
		}
	}
	last := uint64(0)
	for i, p := range procs {
		name, number, _ := strings.Cut(p.line(), " ")
		token, err := strconv.ParseUint(number, 10, 64)
		if name != "e" || err != nil || token <= last {
			t.Errorf("term %d: %q, token %s after %d", i, name, number, last)
		}
		last = token
		w.leads(fmt.Sprint("host-", i))
		if n := len(w.line("e").Waiters); n != 2-i {
			t.Errorf("term %d: %d candidates wait", i, n)
		}
		w.write("go", "x\n")
		if code := p.wait(); code != 0 {
			t.Errorf("ended with %d: %s", code, p.err)
		}
	}
	w.expect(1, "leader", "e")
}

func TestTheExitCodeOfElectIsTheCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.expect(42, "elect", "e", "v", "--", "sh", "-c", "exit 42")
	w.expect(127, "elect", "e", "--", "no-such-command-here")
	w.expect(0, "elect", "--try", "e", "-c", "true")
}

func TestElectThatTriesSaysWhoLeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.having(1, []string{"elect", "e", "host-1"})
	for _, args := range [][]string{{"-n"}, {"--try"}, {"-w", "0"}, {"-w", "0.05"}} {
		_, err := w.expect(75, append(append([]string{"elect"}, args...), "e", "host-2", "--", "true")...)
		if !oneLine(err) || !strings.Contains(err, "host-1") {
			t.Errorf("%v: %q", args, err)
		}
	}
	w.expect(9, "elect", "-n", "-E", "9", "e", "--", "true")
	w.expect(69, "lock", "-n", "e", "--", "true") // an election is another kind
}

func TestALeaderWhoseLeadIsTakenAwayHasItsCommandEndedAndExits70(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, kids := w.having(1, []string{"elect", "--ttl", "2", "e", "host-1"}, "stubborn")
	w.expect(0, "release", "--force", "--yes", "e")
	if code := p.wait(); code != 70 || !oneLine(p.err.String()) || !strings.Contains(p.err.String(), "lead lost") {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
	if kids[0].running() {
		t.Error("the command runs on without the lead")
	}
}

func TestAFrozenLeadersCommandIsEndedBeforeTheNextOneLeads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, kids := w.having(1, []string{"elect", "--ttl", "2", "e", "host-1"})
	next := w.start("elect", "e", "host-2", "--", lockstepBinary, "leader", "e")
	w.awaitLine("e", 1)
	p.signal(unix.SIGSTOP)
	if value := next.line(); value != "host-2" {
		t.Errorf("%q leads", value)
	}
	if kids[0].running() {
		t.Error("the frozen one's command runs beside the next leader")
	}
	p.signal(unix.SIGCONT)
	if code := p.wait(); code != 70 {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
}

func TestElectWithoutACommandLeadsUntilASignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("elect", "e", "host-1")
	if said := p.line(); !strings.HasPrefix(said, "leading e as host-1, token ") {
		t.Errorf("it said %q", said)
	}
	next := w.start("elect", "--json", "e", "host-2")
	w.awaitLine("e", 1)
	if next.out.String() != "" {
		t.Errorf("a candidate said that it leads: %s", next.out)
	}
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 128+int(unix.SIGTERM) || p.err.String() != "" {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
	var l leader
	if err := json.Unmarshal([]byte(next.line()), &l); err != nil || l.Value != "host-2" || l.Token == "" || l.ID == "" {
		t.Errorf("%v: %+v", err, l)
	}
	w.leads("host-2")
}

func TestElectWithoutACommandExits70WhenTheLeadIsLost(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("elect", "--ttl", "2", "e", "host-1")
	p.line()
	w.expect(0, "release", "--force", "--yes", "e")
	if code := p.wait(); code != 70 || !oneLine(p.err.String()) {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
}

// leader is what leader --json says.
type leader struct{ Name, ID, Value, Token string }

func TestLeaderPrintsTheValueOrExits1(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if out, err := w.expect(1, "leader", "e"); out != "" || !oneLine(err) {
		t.Errorf("of nobody: %q, %q", out, err)
	}
	if out, err := w.expect(1, "leader", "--json", "e"); out != `{"name":"e"}`+"\n" || err != "" {
		t.Errorf("of nobody as JSON: %q, %q", out, err)
	}
	w.having(1, []string{"elect", "e", "host 1"})
	if out, _ := w.expect(0, "leader", "e"); out != "host 1\n" {
		t.Errorf("%q", out)
	}
	out, _ := w.expect(0, "leader", "--json", "e")
	var l leader
	if err := json.Unmarshal([]byte(out), &l); err != nil || l.Name != "e" || l.Value != "host 1" || l.ID == "" || l.Token == "" {
		t.Errorf("%v: %s", err, out)
	}
	w.holding(1, nil)
	if _, err := w.expect(69, "leader", "n"); !oneLine(err) {
		t.Errorf("of a lock: %s", err)
	}
}

// watchLeaders checks each line that leader --watch prints while terms go by.
func watchLeaders(t *testing.T, w *world) {
	t.Helper()
	watch := w.start("leader", "--watch", "e")
	next := func(value string) {
		t.Helper()
		f := strings.Split(watch.line(), "\t")
		if len(f) == 3 && f[0] == "leader" && f[2] == value || len(f) == 1 && f[0] == value {
			return
		}
		t.Errorf("it printed %q, not %q", f, value)
	}
	next("vacant")
	for _, value := range []string{"host-1", "host-2"} {
		p, _ := w.having(1, []string{"elect", "e", value})
		next(value)
		p.signal(unix.SIGTERM)
		p.wait()
		next("vacant")
	}
	watch.signal(unix.SIGINT)
	if code := watch.wait(); code != 128+int(unix.SIGINT) || watch.err.String() != "" {
		t.Errorf("ended with %d, said %q", code, watch.err)
	}
}

func TestLeaderWatchPrintsEveryTermAndVacancy(t *testing.T) {
	t.Parallel()
	watchLeaders(t, newWorld(t))
}

func TestOverRedisACommandRunsWhileItLeads(t *testing.T) {
	t.Parallel()
	w, _ := newRedisWorld(t, redistest.Options{})
	watchLeaders(t, w)
	p, kids := w.having(1, []string{"elect", "--ttl", "2", "e", "host-1"})
	w.expect(0, "release", "--force", "--yes", "e")
	if code := p.wait(); code != 70 || kids[0].running() {
		t.Errorf("whose lead was taken away ended with %d, its command runs: %v", code, kids[0].running())
	}
}

func TestSemGivesSlotsByWeight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	heavy, _ := w.having(1, []string{"sem", "s", "-n", "3", "--weight", "2", "--note", "the heavy one"})
	w.expect(0, "sem", "s", "-n", "3", "--try", "-c", "exit 0")
	if _, err := w.expect(75, "sem", "s", "-n", "3", "--weight", "2", "--try", "--", "true"); !strings.Contains(err, "the heavy one") {
		t.Errorf("it does not say who holds: %s", err)
	}
	w.expect(75, "sem", "s", "-n", "3", "--weight", "2", "--timeout", "0.05", "--", "true")
	w.expect(69, "sem", "s", "-n", "4", "--", "true") // another number of slots
	next := w.start("sem", "s", "-n", "3", "--weight", "2", "--", "printenv", "LOCKSTEP_NAME")
	w.awaitLine("s", 1)
	heavy.signal(unix.SIGTERM)
	if code := next.wait(); code != 0 || next.out.String() != "s\n" {
		t.Errorf("the next ended with %d, said %q", code, next.out)
	}
}

func TestOverRedisSemGivesSlotsByWeight(t *testing.T) {
	t.Parallel()
	w, _ := newRedisWorld(t, redistest.Options{})
	w.having(1, []string{"sem", "s", "-n", "2"})
	w.expect(75, "sem", "s", "-n", "2", "--weight", "2", "--try", "--", "true")
	w.expect(0, "sem", "s", "-n", "2", "--", "true")
}
