//go:build unix

package main

import (
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep/internal/zktest"
)

// The command over a real ZooKeeper.

func newZKWorld(t *testing.T) (*world, *zktest.Server) {
	t.Helper()
	s := zktest.Start(t, zktest.Options{})
	w := newWorld(t)
	w.url = "zk://" + s.Addr + "/command"
	return w, s
}

func TestOverZooKeeperOneProcessAtATimeRunsInOrderOfItsToken(t *testing.T) {
	const processes, turns = 4, 5
	const script = `read n < count; echo $((n+1)) > count; echo "$LOCKSTEP_TOKEN" >> tokens`
	w, _ := newZKWorld(t)
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
	var tokens []uint64
	for text := range strings.FieldsSeq(w.read("tokens")) {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Error(err)
		}
		tokens = append(tokens, n)
	}
	if len(tokens) != processes*turns || !slices.IsSorted(tokens) {
		t.Errorf("tokens: %v", tokens)
	}
}

func TestOverZooKeeperLocksAreSeenAndTakenAway(t *testing.T) {
	w, _ := newZKWorld(t)
	p, kids := w.holding(1, []string{"--note", "the first", "--ttl", "3"})
	w.start("lock", "--note", "the second", "n", "--", "true")
	w.awaitWaiters(1)
	if out, _ := w.expect(0, "ls"); strings.Join(strings.Fields(strings.Split(out, "\n")[1]), " ") != "n mutex 1 1" {
		t.Errorf("ls: %q", out)
	}
	if out, _ := w.expect(0, "status", "n"); !strings.Contains(out, "the first") || !strings.Contains(out, "the second") {
		t.Errorf("status: %s", out)
	}
	w.expect(0, "release", "--force", "--yes", "n")
	if code := p.wait(); code != 70 || kids[0].running() {
		t.Errorf("whose lock was taken away ended with %d, its command runs: %v", code, kids[0].running())
	}
	w.await(func() bool { return len(w.line("n").Waiters)+len(w.line("n").Holders) == 0 }, "the second had its turn")
}

func TestOverZooKeeperValuesAndTheDoctor(t *testing.T) {
	w, s := newZKWorld(t)
	w.expect(1, "get", "m", "a")
	w.expect(0, "put", "m", "a", "1")
	if out, _ := w.expect(0, "list", "m"); out != "a\t1\n" {
		t.Errorf("list: %q", out)
	}
	if out, _ := w.expect(0, "doctor", "zk://"+s.Addr); !strings.Contains(out, "stands alone") {
		t.Errorf("doctor: %s", out)
	}
	s.Kill()
	w.expect(69, "get", "m", "a")
}
