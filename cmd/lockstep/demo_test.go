//go:build unix

package main

import (
	"encoding/json"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestTheDemosStoryComesTrue(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"TMPDIR=" + w.dir, "LANG=C.UTF-8", "LC_ALL="}
	out, err := w.expect(0, "demo")
	if err != "" {
		t.Errorf("it said %q", err)
	}
	for _, part := range []string{
		"B is killed", "is frozen", "REFUSED", "token ", " ms after ", "lockstep lock nightly -- ./report.sh",
	} {
		if !strings.Contains(out, part) {
			t.Errorf("no %q in\n%s", part, out)
		}
	}
	if strings.Contains(out, "\x1b") {
		t.Error("colours without a terminal")
	}
	left, readErr := os.ReadDir(w.dir)
	if readErr != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, readErr)
	}
}

func TestTheDemoAsJSONIsOneObjectAnEvent(t *testing.T) {
	w := newWorld(t)
	out, _ := w.expect(0, "demo", "--json")
	seen := map[string]int{}
	for line := range strings.Lines(out) {
		var e struct{ Event string }
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		seen[e.Event]++
	}
	for event, n := range map[string]int{"killed": 1, "frozen": 1, "thawed": 1, "refused": 1, "lost": 1, "done": 1} {
		if seen[event] != n {
			t.Errorf("%q %d times", event, seen[event])
		}
	}
}

func TestTheDemoInterruptedCleansUp(t *testing.T) {
	w := newWorld(t)
	w.env = []string{"TMPDIR=" + w.dir}
	p := w.start("demo")
	w.await(func() bool { return strings.Contains(p.out.String(), "holds,") }, "the first hand-over")
	p.signal(unix.SIGINT)
	if code := p.wait(); code != 130 {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
	if left, err := os.ReadDir(w.dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
