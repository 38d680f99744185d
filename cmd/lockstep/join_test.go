//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/redistest"
)

// hasMembers waits until the group "g" has these, as members prints them.
func (w *world) hasMembers(lines ...string) {
	w.t.Helper()
	want := ""
	for _, l := range lines {
		want += l + "\n"
	}
	var got string
	w.await(func() bool { got, _ = w.expect(0, "members", "g"); return got == want }, fmt.Sprintf("%q; there is %q", want, got))
}

func TestAMemberIsSeenWhileItsCommandRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.hasMembers()
	p := w.start("join", "g", "--id", "host-1", "--data", "10.0.0.7:8080", "-c",
		`echo "$LOCKSTEP_NAME $LOCKSTEP_ID $LOCKSTEP_TOKEN"; trap "exit 5" TERM; while :; do sleep 0.01; done`)
	if f := strings.Fields(p.line()); len(f) != 3 || f[0] != "g" || f[1] != "host-1" || f[2] == "0" {
		t.Errorf("the command's environment: %q", f)
	}
	w.hasMembers("host-1\t10.0.0.7:8080")
	other, _ := w.having(1, []string{"join", "g", "--id", "host 2"})
	w.hasMembers("host-1\t10.0.0.7:8080", "host 2\t")
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 5 {
		t.Errorf("ended with %d, said %s", code, p.err)
	}
	w.hasMembers("host 2\t")
	out, _ := w.expect(0, "members", "--json", "g")
	var got struct {
		Group   string
		Members []struct{ ID, Data, Token string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Group != "g" || len(got.Members) != 1 ||
		got.Members[0].ID != "host 2" || got.Members[0].Token == "" {
		t.Errorf("%v: %s", err, out)
	}
	other.signal(unix.SIGTERM)
	other.wait()
}

func TestJoinWithoutACommandIsAMemberUntilASignal(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p := w.start("join", "g", "--id", "a")
	if said := p.line(); said != "joined g as a" {
		t.Errorf("it said %q", said)
	}
	w.hasMembers("a\t")
	p.signal(unix.SIGINT)
	if code := p.wait(); code != 128+int(unix.SIGINT) || p.err.String() != "" {
		t.Errorf("ended with %d, said %s", code, p.err)
	}
	w.hasMembers()
}

func TestNoTwoMembersHaveOneID(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.start("join", "g", "--id", "a", "--data", "first")
	first.line()
	second := w.start("join", "--json", "g", "--id", "a", "--data", "second")
	_, err := w.expect(75, "join", "g", "--id", "a", "--timeout", "3", "--", "true")
	if !oneLine(err) || !strings.Contains(err, `"a"`) {
		t.Errorf("it said %q", err)
	}
	w.hasMembers("a\tfirst")
	first.signal(unix.SIGKILL)
	var joined struct{ Group, ID, Token string }
	if err := json.Unmarshal([]byte(second.line()), &joined); err != nil || joined.ID != "a" || joined.Token == "" {
		t.Errorf("%v: %+v", err, joined)
	}
	w.hasMembers("a\tsecond")
	// Without an id each gets one of its own.
	for range 2 {
		w.start("join", "g").line()
	}
	w.await(func() bool { out, _ := w.expect(0, "members", "g"); return strings.Count(out, "\n") == 3 }, "three members")
}

func TestAMembersCommandGoesOnThroughAnInterruptionAndItJoinsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, kids := w.having(1, []string{"join", "--ttl", "1", "g", "--id", "a"})
	p.signal(unix.SIGSTOP)
	w.hasMembers() // it is gone, as far as others can tell
	if !kids[0].running() {
		t.Error("its command was ended: being a member is no permit")
	}
	p.signal(unix.SIGCONT)
	w.hasMembers("a\t")
	if !kids[0].running() {
		t.Error("its command was ended as it joined again")
	}
}

// One that was suspended while it waited still wants to be the member.
func TestWhoWaitsForAnIDAndWasSuspendedWaitsAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.start("join", "g", "--id", "a", "--data", "first")
	first.line()
	second := w.start("join", "--ttl", "1", "-v", "g", "--id", "a", "--data", "second")
	second.suspendedInLine(time.Second)
	first.signal(unix.SIGTERM)
	if said := second.line(); said != "joined g as a" {
		t.Errorf("it said %q", said)
	}
}

func TestAKilledMemberTakesItsCommandAlong(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	p, kids := w.having(2, []string{"join", "--ttl", "2", "g"}, "stubborn", "parent", "stubborn")
	p.signal(unix.SIGKILL)
	w.hasMembers()
	w.await(func() bool { return !kids[0].running() && !kids[1].running() }, "the command's end")
}

func TestTheExitCodeOfJoinIsTheCommands(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.expect(42, "join", "g", "-c", "exit 42")
	w.expect(127, "join", "g", "--", "no-such-command-here")
	w.expect(128+int(unix.SIGKILL), "join", "g", "-c", "kill -9 $$")
	w.hasMembers()
}

func watchMembers(t *testing.T, w *world) {
	t.Helper()
	p := w.start("members", "--watch", "g")
	a := w.start("join", "g", "--id", "a", "--data", "x y")
	want := func(line string) {
		t.Helper()
		if got := p.line(); got != line {
			t.Errorf("it printed %q, not %q", got, line)
		}
	}
	want("joined\ta\tx y")
	w.start("join", "g", "--id", "b")
	want("joined\tb\t")
	a.signal(unix.SIGTERM)
	a.wait()
	want("left\ta")
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 128+int(unix.SIGTERM) || p.err.String() != "" {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
}

func TestMembersWatchPrintsWhoJoinsAndLeaves(t *testing.T) {
	t.Parallel()
	watchMembers(t, newWorld(t))
}

func TestOverRedisMembersAreSeen(t *testing.T) {
	t.Parallel()
	w, _ := newRedisWorld(t, redistest.Options{})
	watchMembers(t, w)
}
