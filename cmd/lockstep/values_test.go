//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAValueIsPutGotAndDeleted(t *testing.T) {
	w := newWorld(t)
	w.expect(1, "get", "/config/limit")
	w.expect(0, "put", "/config/limit", "10")
	if out, _ := w.expect(0, "get", "/config/limit"); out != "10\n" {
		t.Errorf("got %q", out)
	}
	if out, _ := w.expect(0, "get", "--raw", "/config/limit"); out != "10" {
		t.Errorf("raw: %q", out)
	}
	w.expect(0, "del", "/config/limit")
	w.expect(0, "del", "/config/limit") // deleted already
	if _, err := w.expect(1, "get", "/config/limit"); !oneLine(err) {
		t.Errorf("it said %q", err)
	}
}

func TestAnEntryOfAMapIsPutGotListedAndDeleted(t *testing.T) {
	w := newWorld(t)
	w.expect(0, "put", "m", "b", "2")
	w.expect(0, "put", "m", "a", "1\t1")
	w.expect(0, "put", "m", "the value") // the map's own, with the empty key
	if out, _ := w.expect(0, "get", "m", "a"); out != "1\t1\n" {
		t.Errorf("got %q", out)
	}
	if out, _ := w.expect(0, "list", "m"); out != "\tthe value\na\t\"1\\t1\"\nb\t2\n" {
		t.Errorf("list: %q", out)
	}
	w.expect(0, "del", "m", "a")
	out, _ := w.expect(0, "list", "--json", "m")
	var got struct {
		Map      string
		Revision uint64
		Entries  []struct {
			Key, Value string
			Revision   uint64
		}
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	if got.Map != "m" || got.Revision == 0 || len(got.Entries) != 2 {
		t.Fatalf("%s", out)
	}
	if b := got.Entries[1]; b.Key != "b" || b.Value != "2" || b.Revision == 0 {
		t.Errorf("%s", out)
	}
}

func TestAValueIsReadFromStandardInputAsItIs(t *testing.T) {
	w := newWorld(t)
	value := "\x00\xff binary\n"
	p := w.startWith(func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader(value) }, "put", "v", "-")
	if p.wait() != 0 {
		t.Fatal(p.err)
	}
	if out, _ := w.expect(0, "get", "--raw", "v"); out != value {
		t.Errorf("got %q", out)
	}
	out, _ := w.expect(0, "get", "--json", "v")
	var got struct {
		Value  *string
		Base64 []byte `json:"value_base64"`
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Value != nil || string(got.Base64) != value {
		t.Errorf("%v: %s", err, out)
	}
	p = w.startWith(func(cmd *exec.Cmd) { cmd.Stdin = strings.NewReader(strings.Repeat("x", 1<<20+1)) }, "put", "v", "-")
	if p.wait() != 64 || !oneLine(p.err.String()) {
		t.Errorf("a value that is too big: %d, %s", p.code, p.err)
	}
}

func TestWatchPrintsTheStateAndThenEveryChange(t *testing.T) {
	w := newWorld(t)
	w.expect(0, "put", "m", "a", "1")
	p := w.start("watch", "m")
	plain := func(want string) {
		t.Helper()
		if _, got, _ := strings.Cut(p.line(), "\t"); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	plain("put\ta\t1")
	w.expect(0, "put", "m", "a", "2")
	plain("put\ta\t2")
	w.expect(0, "put", "m", "the value")
	plain("put\t\tthe value")
	w.expect(0, "del", "m", "a")
	plain("delete\ta")
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 128+int(unix.SIGTERM) || p.err.String() != "" {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
}

func TestWatchAsJSONMarksTheSnapshotAndTheEndOfEachCommit(t *testing.T) {
	w := newWorld(t)
	p := w.start("watch", "--json", "m")
	type change struct {
		Map, Op, Key, Value string
		Synced, Snapshot    bool
	}
	next := func() (c change) {
		t.Helper()
		if err := json.Unmarshal([]byte(p.line()), &c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := next(); c != (change{Map: "m", Synced: true, Snapshot: true}) {
		t.Errorf("an empty map: %+v", c)
	}
	w.expect(0, "put", "m", "k", "v")
	if c := next(); c != (change{Map: "m", Op: "put", Key: "k", Value: "v", Synced: true}) {
		t.Errorf("%+v", c)
	}
}

func TestWatchRunsACommandPerChange(t *testing.T) {
	w := newWorld(t)
	w.expect(0, "put", "m", "a", "1")
	w.env = []string{"LOCKSTEP_PASSWORD=geheim"}
	p := w.start("watch", "m", "--", "sh", "-c",
		`echo "$LOCKSTEP_MAP $LOCKSTEP_OP $LOCKSTEP_KEY $LOCKSTEP_VALUE $(cat) [$LOCKSTEP_SNAPSHOT] $LOCKSTEP_PASSWORD"; exit 3`)
	if got := p.line(); got != "m put a 1 1 [1] " {
		t.Errorf("got %q", got)
	}
	w.expect(0, "del", "m", "a") // it goes on after a command that failed
	if got := p.line(); got != "m delete a   [] " {
		t.Errorf("got %q", got)
	}
	w.await(func() bool { return strings.Contains(p.err.String(), "exit status 3") }, "the failure told")
	w.expect(0, "put", "m", "a", "1")
	w.expect(127, "watch", "m", "--", "no-such-command")
}

func TestStatusShowsHolderNoteTokenAgeAndWaitersInOrder(t *testing.T) {
	w := newWorld(t)
	if out, _ := w.expect(0, "status", "n"); out != "n is free\n" {
		t.Errorf("free: %q", out)
	}
	w.holding(1, []string{"--note", "the first"})
	for i := range 2 {
		w.start("lock", "--note", fmt.Sprint("waiter ", i), "n", "--", "true")
		w.awaitWaiters(i + 1)
	}
	out, _ := w.expect(0, "status", "n")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 4 || lines[0] != "n: mutex" {
		t.Fatalf("%s", out)
	}
	for i, parts := range [][]string{{"holder", "the first", "for ", "token ", "id "}, {"1st in line", "waiter 0"}, {"2nd in line", "waiter 1"}} {
		for _, part := range parts {
			if !strings.Contains(lines[i+1], part) {
				t.Errorf("%q misses %q", lines[i+1], part)
			}
		}
	}
	l := w.line("n")
	if l.Kind != "mutex" || len(l.Holders) != 1 || l.Holders[0].Token == "" || len(l.Waiters) != 2 || l.Waiters[1].Note != "waiter 1" {
		t.Errorf("%+v", l)
	}
}

func TestLsListsTheLocksInUse(t *testing.T) {
	w := newWorld(t)
	if out, _ := w.expect(0, "ls"); out != "" {
		t.Errorf("of nothing: %q", out)
	}
	w.holding(1, nil)
	w.start("lock", "n", "--", "true")
	w.awaitWaiters(1)
	out, _ := w.expect(0, "ls")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 2 || strings.Join(strings.Fields(lines[1]), " ") != "n mutex 1 1" {
		t.Errorf("%s", out)
	}
	if out, _ := w.expect(0, "ls", "other/"); out != "" {
		t.Errorf("with another prefix: %q", out)
	}
	out, _ = w.expect(0, "ls", "--json")
	var got struct{ Locks []line }
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(got.Locks) != 1 || len(got.Locks[0].Waiters) != 1 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestVersionSaysWhatItIs(t *testing.T) {
	w := newWorld(t)
	if out, _ := w.expect(0, "version"); !strings.HasPrefix(out, "lockstep ") {
		t.Errorf("%q", out)
	}
	out, _ := w.expect(0, "version", "--json")
	var got struct{ Version, Go, OS, Arch string }
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Version == "" || got.Go == "" || got.OS == "" || got.Arch == "" {
		t.Errorf("%v: %s", err, out)
	}
}

func TestCompletionKnowsShellsAndNames(t *testing.T) {
	w := newWorld(t)
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		if out, _ := w.expect(0, "completion", shell); !strings.Contains(out, "lockstep") {
			t.Errorf("%s: %q", shell, out)
		}
	}
	w.holding(1, nil)
	if out, _ := w.expect(0, "__complete", "status", ""); !strings.HasPrefix(out, "n\n") {
		t.Errorf("names: %q", out)
	}
}

func TestHelpGoesToStandardOutput(t *testing.T) {
	w := newWorld(t)
	for _, args := range [][]string{{}, {"--help"}, {"lock", "--help"}, {"help", "watch"}} {
		if out, err := w.expect(0, args...); out == "" || err != "" {
			t.Errorf("%q: %q", args, err)
		}
	}
}
