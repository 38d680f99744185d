//go:build unix

package main

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/etcdtest"
)

// newEtcdWorld is a world whose engine is a server of its own.
func newEtcdWorld(t *testing.T) (*world, *etcdtest.Member) {
	t.Helper()
	s := etcdtest.Start(t, "--unsafe-no-fsync")
	w := newWorld(t)
	w.url = s.URL()
	return w, s
}

func TestOverEtcdLocksAreSeenAndTakenAway(t *testing.T) {
	w, _ := newEtcdWorld(t)
	p, kids := w.holding(1, []string{"--note", "the first", "--ttl", "3"})
	w.start("lock", "--note", "the second", "n", "--", "true")
	w.awaitWaiters(1)
	if out, _ := w.expect(0, "ls"); !strings.Contains(strings.Join(strings.Fields(out), " "), "n mutex 1 1") {
		t.Errorf("ls: %q", out)
	}
	if out, _ := w.expect(0, "status", "n"); !strings.Contains(out, "the first") || !strings.Contains(out, "the second") {
		t.Errorf("status: %s", out)
	}
	w.expect(75, "lock", "--try", "n", "--", "true")
	w.expect(0, "release", "--force", "--yes", "n")
	if code := p.wait(); code != 70 || kids[0].running() {
		t.Errorf("whose lock was taken away ended with %d, its command runs: %v", code, kids[0].running())
	}
	w.await(func() bool { return len(w.line("n").Waiters)+len(w.line("n").Holders) == 0 }, "the second had its turn")
}

func TestOverEtcdValuesAreSharedAndWatched(t *testing.T) {
	w, _ := newEtcdWorld(t)
	w.expect(1, "get", "m", "a")
	w.expect(0, "put", "m", "a", "1")
	p := w.start("watch", "m")
	if _, got, _ := strings.Cut(p.line(), "\t"); got != "put\ta\t1" {
		t.Errorf("watch: %q", got)
	}
	w.expect(0, "del", "m", "a")
	if _, got, _ := strings.Cut(p.line(), "\t"); got != "delete\ta" {
		t.Errorf("watch: %q", got)
	}
	p.signal(unix.SIGTERM)
	p.wait()
}

func TestAnEtcdThatCannotBeUsedIsOneLineAnd69(t *testing.T) {
	w, s := newEtcdWorld(t)
	out, _ := w.expect(0, "doctor")
	for _, part := range []string{"warning\n  the cluster has one member", "a quorum answers", "no alarm is raised"} {
		if !strings.Contains(out, part) {
			t.Errorf("doctor misses %q:\n%s", part, out)
		}
	}
	s.Kill()
	w.unusable("connect", "lock", "n", "--", "true")
	w.unusable("connect", "doctor")
	w.expect(64, "lock", "--engine", w.url+"?no=such", "n", "--", "true")
}
