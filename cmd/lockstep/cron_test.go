//go:build unix

package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/redistest"
)

const everySecond = "* * * * * *"

// takeTicks has three run one schedule until five ticks are over.
func takeTicks(t *testing.T, w *world) {
	t.Helper()
	w.write("ticks", "")
	var procs []*process
	for range 3 {
		procs = append(procs, w.start("cron", everySecond, "n", "-c", `echo "$LOCKSTEP_TICK $LOCKSTEP_TOKEN $LOCKSTEP_NAME" >> `+w.path("ticks")))
	}
	w.await(func() bool { return strings.Count(w.read("ticks"), "\n") >= 5 }, "five ticks")
	for _, p := range procs {
		p.signal(unix.SIGTERM)
	}
	for _, p := range procs {
		if code := p.wait(); code != 128+int(unix.SIGTERM) {
			t.Errorf("ended with %d, said %s", code, p.err)
		}
	}
	seen := map[string]bool{}
	for line := range strings.Lines(w.read("ticks")) {
		f := strings.Fields(line)
		if len(f) != 3 || f[1] == "" || f[2] != "n" {
			t.Fatalf("the command's environment: %q", line)
		}
		if at, err := time.Parse(time.RFC3339Nano, f[0]); err != nil || at.Nanosecond() != 0 {
			t.Errorf("tick %q: %v", f[0], err)
		}
		if seen[f[0]] {
			t.Errorf("the tick of %s ran twice", f[0])
		}
		seen[f[0]] = true
	}
}

func TestATickRunsOnceAmongAll(t *testing.T) {
	t.Parallel()
	takeTicks(t, newWorld(t))
}

func TestOverRedisATickRunsOnceAmongAll(t *testing.T) {
	t.Parallel()
	w, _ := newRedisWorld(t, redistest.Options{})
	takeTicks(t, w)
}

func TestASignalEndsTheTicksCommandAndThenTheSchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("cron", everySecond, "n", "-c",
		`trap "echo used" USR1; trap "echo stopped; exit 3" TERM; echo ready; while :; do sleep 0.01; done`)
	p.line()
	p.signal(unix.SIGUSR1)
	if said := p.line(); said != "used" {
		t.Errorf("after USR1: %q", said)
	}
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 128+int(unix.SIGTERM) || p.out.String() != "ready\nused\nstopped\n" {
		t.Errorf("ended with %d, printed %q", code, p.out)
	}
	w.expect(0, "lock", "--try", "n", "--", "true")
}

func TestAScheduleGoesOnAfterACommandThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.env = []string{"LOCKSTEP_TICK=never", "LOCKSTEP_TOKEN=0"} // of an outer schedule
	p := w.start("cron", everySecond, "n", "-c", `env | grep -cE '^LOCKSTEP_(TICK|TOKEN)='; exit 3`)
	for range 2 {
		if n := p.line(); n != "2" {
			t.Errorf("%s variables of the two that there are", n)
		}
	}
	w.await(func() bool { return strings.Contains(p.err.String(), "the command ended with 3") }, "it says so")
	p.signal(unix.SIGINT)
	if code := p.wait(); code != 128+int(unix.SIGINT) {
		t.Errorf("ended with %d", code)
	}
}

func TestAScheduleThatLosesItsLockEndsTheCommandAndGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, kids := w.having(1, []string{"cron", everySecond, "n"}, "stubborn")
	w.expect(0, "release", "--force", "--yes", "n")
	p.line() // the next tick's command
	if kids[0].running() {
		t.Error("the command that lost its lock runs beside the next")
	}
	w.await(func() bool { return strings.Contains(p.err.String(), "lock lost, the command was ended") }, "it says so")
	if said, _ := p.err.line(); strings.Count(said, "no longer has the claim") != 1 {
		t.Errorf("it said %q", said)
	}
}

func TestACommandThatDoesNotExistEndsTheScheduleWith127(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := w.expect(127, "cron", everySecond, "n", "--", "no-such-command-here"); !strings.Contains(err, "not found") {
		t.Errorf("it said %q", err)
	}
}

func TestAScheduleAsJSONReportsEachTickOnStandardError(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("cron", "--json", everySecond, "n", "--", "sh", "-c", "exit 3")
	said, _ := p.err.line()
	var r struct {
		Name, Tick, Outcome string
		Code                int
	}
	if err := json.Unmarshal([]byte(said), &r); err != nil || r.Name != "n" || r.Tick == "" || r.Outcome != "ran" || r.Code != 3 {
		t.Errorf("%v: %s", err, said)
	}
	p.signal(unix.SIGTERM)
	p.wait()
}

func TestACommandThatIsKilledTakesItsTicksCommandAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, kids := w.having(1, []string{"cron", "--ttl", "2", everySecond, "n"})
	p.signal(unix.SIGKILL)
	w.await(func() bool { return !kids[0].running() }, "the command's end")
}
