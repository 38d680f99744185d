//go:build unix

package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/redistest"
)

// The command over a real Redis: what differs from a directory is who takes part,
// what a password is, and that its server can be examined.

// newRedisWorld is a world whose engine is a server of its own.
func newRedisWorld(t *testing.T, o redistest.Options) (*world, *redistest.Server) {
	t.Helper()
	s := redistest.StartWith(t, o)
	w := newWorld(t)
	w.url = "redis://" + s.Addr
	return w, s
}

func TestOverRedisOneProcessAtATimeRunsInOrderOfItsToken(t *testing.T) {
	const processes, turns = 4, 10
	const script = `read n < count; echo $((n+1)) > count; echo "$LOCKSTEP_TOKEN" >> tokens`
	w, _ := newRedisWorld(t, redistest.Options{})
	w.write("count", "0\n")
	var procs sync.WaitGroup
	for range processes {
		procs.Go(func() {
			for range turns {
				cmd := exec.Command(fastBinary, "--engine", w.url, "lock", "n", "-c", script)
				cmd.Dir = w.dir
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
					return
				}
			}
		})
	}
	procs.Wait()
	if got := strings.TrimSpace(w.read("count")); got != fmt.Sprint(processes*turns) {
		t.Errorf("the file says %s, not %d", got, processes*turns)
	}
	tokens := strings.Fields(w.read("tokens")) // all of one length
	if len(tokens) != processes*turns || !slices.IsSorted(tokens) {
		t.Errorf("tokens: %v", tokens)
	}
}

func TestOverRedisLocksAreSeenAndTakenAway(t *testing.T) {
	w, _ := newRedisWorld(t, redistest.Options{})
	p, kids := w.holding(1, []string{"--note", "the first", "--ttl", "3"})
	w.start("lock", "--note", "the second", "n", "--", "true")
	w.awaitWaiters(1)
	if out, _ := w.expect(0, "ls"); strings.Join(strings.Fields(strings.Split(out, "\n")[1]), " ") != "n mutex 1 1" {
		t.Errorf("ls: %q", out)
	}
	out, _ := w.expect(0, "status", "n")
	lines := strings.Split(strings.TrimSpace(out), "\n")
	if len(lines) != 3 || !strings.Contains(lines[1], "the first") || !strings.Contains(lines[1], "token ") {
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
	w.await(func() bool { return len(w.line("n").Waiters)+len(w.line("n").Holders) == 0 }, "the second had its turn")
}

func TestOverRedisValuesAreSharedAndWatched(t *testing.T) {
	w, _ := newRedisWorld(t, redistest.Options{})
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
	p.wait()
	w.expect(0, "put", "m", "a", "3")
	if out, _ := w.expect(0, "get", "m", "a"); out != "3\n" {
		t.Errorf("get: %q", out)
	}
	if out, _ := w.expect(0, "list", "m"); out != "a\t3\n" {
		t.Errorf("list: %q", out)
	}
}

func TestARedisThatCannotBeUsedIsOneLineAnd69(t *testing.T) {
	w, s := newRedisWorld(t, redistest.Options{Password: "geheim"})
	w.unusable("password", "lock", "n", "--", "true")
	w.env = []string{"LOCKSTEP_PASSWORD=falsch"}
	w.unusable("password", "lock", "n", "--", "true")
	w.env = []string{"LOCKSTEP_PASSWORD=geheim"}
	out, _ := w.expect(0, "lock", "n", "-c", `echo "$LOCKSTEP_URL $LOCKSTEP_PASSWORD"`)
	if out != w.url+" \n" {
		t.Errorf("the command's environment: %q", out)
	}
	s.Stop()
	w.unusable("connect", "lock", "n", "--", "true")
}

func TestDoctorExitsByTheWorstThatItFinds(t *testing.T) {
	w, s := newRedisWorld(t, redistest.Options{})
	out, _ := w.expect(0, "doctor")
	for _, part := range []string{w.url, "\nwarning\n", "nothing is written to disk", "→ CONFIG SET appendonly yes", "\nok\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("it misses %q:\n%s", part, out)
		}
	}
	s.MustDo(t, "CONFIG", "SET", "maxmemory", "1gb", "maxmemory-policy", "volatile-lru")
	if out, _ = w.expect(1, "doctor", w.url); !strings.Contains(out, "\ndanger\n  maxmemory-policy is volatile-lru") {
		t.Errorf("%s", out)
	}
	out, _ = w.expect(1, "doctor", "--json")
	var got struct {
		Engine, Worst string
		Findings      []struct{ Level, What, Why, Fix string }
	}
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if got.Engine != w.url || got.Worst != "danger" || len(got.Findings) < 5 || got.Findings[0].Level != "danger" || got.Findings[0].Fix == "" {
		t.Errorf("%s", out)
	}
	s.Stop()
	w.unusable("connect", "doctor")
	w.expect(64, "doctor", w.url, "and more")
	w.expect(64, "doctor", w.url+"?no=such")
}

func TestDoctorShowsNoPassword(t *testing.T) {
	w, s := newRedisWorld(t, redistest.Options{Password: "geheim"})
	w.url = s.URL()
	for _, args := range [][]string{{"doctor"}, {"doctor", "--json"}, {"doctor", "-v", w.url}} {
		if out, err := w.expect(0, args...); strings.Contains(out+err, "geheim") {
			t.Errorf("%v: %s%s", args, out, err)
		}
	}
	if _, err := w.expect(69, "doctor", strings.Replace(w.url, "geheim", "ganzgeheim", 1)); strings.Contains(err, "geheim") {
		t.Errorf("%s", err)
	}
}

func TestDoctorSaysThatADirectoryHasNoExamination(t *testing.T) {
	w := newWorld(t)
	if out, _ := w.expect(0, "doctor"); !strings.Contains(out, "no examination") {
		t.Errorf("%s", out)
	}
	w.write("file", "")
	w.expect(64, "doctor", "file://"+w.path("file"))
}
