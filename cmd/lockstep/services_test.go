//go:build unix

package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// What the command does over any engine. What only one of them shows is in its own file.

// takeTurns has processes add to a file under a lock: one at a time, with rising tokens.
func takeTurns(t *testing.T, w *world, processes, turns int) {
	t.Helper()
	const script = `read n < count; echo $((n+1)) > count; echo "$LOCKSTEP_TOKEN" >> tokens`
	w.write("count", "0\n")
	var procs sync.WaitGroup
	for range processes {
		procs.Go(func() {
			for range turns {
				cmd := exec.Command(fastBinary, "lock", "n", "-c", script)
				cmd.Dir, cmd.Env = w.dir, append(os.Environ(), "LOCKSTEP_URL="+w.url)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
					return
				}
			}
		})
	}
	procs.Wait()
	if got := strings.TrimSpace(w.read("count")); got != strconv.Itoa(processes*turns) {
		t.Errorf("the file says %s, not %d", got, processes*turns)
	}
	last, n := uint64(0), 0
	for text := range strings.FieldsSeq(w.read("tokens")) {
		token, err := strconv.ParseUint(text, 10, 64)
		if err != nil || token <= last {
			t.Fatalf("token %q (%v) after %d", text, err, last)
		}
		last = token
		n++
	}
	if n != processes*turns {
		t.Errorf("%d tokens", n)
	}
}

// seeAndTakeAway has others see who holds and who waits, and take the lock away.
// tokens says whether the engine shows others a holder's token.
func seeAndTakeAway(t *testing.T, w *world, tokens bool) {
	t.Helper()
	p, kids := w.holding(1, []string{"--note", "the first", "--ttl", "3"})
	w.start("lock", "--note", "the second", "n", "--", "true")
	w.awaitWaiters(1)
	if out, _ := w.expect(0, "ls"); strings.Join(strings.Fields(strings.Split(out, "\n")[1]), " ") != "n mutex 1 1" {
		t.Errorf("ls: %q", out)
	}
	out, _ := w.expect(0, "status", "n")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], "the first") || strings.Contains(lines[1], "token ") != tokens {
		t.Fatalf("status: %s", out)
	}
	if !strings.Contains(lines[2], "1st in line") || !strings.Contains(lines[2], "the second") {
		t.Errorf("status: %s", out)
	}
	w.expect(75, "lock", "--try", "n", "--", "true")
	w.expect(0, "release", "--force", "--yes", "n")
	if code := p.wait(); code != 70 || kids[0].running() {
		t.Errorf("whose lock was taken away ended with %d, its command runs: %v", code, kids[0].running())
	}
	w.await(func() bool { l := w.line("n"); return len(l.Waiters)+len(l.Holders) == 0 }, "the second had its turn")
}

// shareValues has one put what another watches.
func shareValues(t *testing.T, w *world) {
	t.Helper()
	w.expect(1, "get", "m", "a")
	w.expect(0, "put", "m", "a", "1")
	p := w.start("watch", "m")
	for _, step := range []struct {
		args []string
		want string
	}{{nil, "put\ta\t1"}, {[]string{"put", "m", "a", "2"}, "put\ta\t2"}, {[]string{"del", "m", "a"}, "delete\ta"}} {
		if step.args != nil {
			w.expect(0, step.args...)
		}
		if _, got, _ := strings.Cut(p.line(), "\t"); got != step.want {
			t.Errorf("%v: %q, want %q", step.args, got, step.want)
		}
	}
	p.signal(unix.SIGTERM)
	if code := p.wait(); code != 128+int(unix.SIGTERM) {
		t.Errorf("watch ended with %d", code)
	}
	w.expect(0, "put", "m", "a", "3")
	if out, _ := w.expect(0, "get", "m", "a"); out != "3\n" {
		t.Errorf("get: %q", out)
	}
	if out, _ := w.expect(0, "list", "m"); out != "a\t3\n" {
		t.Errorf("list: %q", out)
	}
}
