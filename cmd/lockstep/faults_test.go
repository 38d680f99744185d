//go:build unix

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep/internal/need"
)

// Nobody runs without the lock, whoever is killed or frozen.

func TestTheCommandKilledEndsItsChildrenBeforeTheNextHolderStarts(t *testing.T) {
	ps := need.Program(t, "ps", "procps")
	for name, words := range map[string][]string{"obey TERM": {"parent"}, "ignore TERM": {"stubborn", "parent", "stubborn"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p, kids := w.holding(2, []string{"--ttl", "2"}, words...)
			// What the next one runs looks whether any of them is still there.
			next := w.start("lock", "n", "-c", fmt.Sprintf("%s -o stat= -p %d,%d | grep -v ^Z; :", ps, kids[0].pid, kids[1].pid))
			w.awaitWaiters(1)
			p.signal(unix.SIGKILL)
			if code := next.wait(); code != 0 || next.out.String() != "" {
				t.Fatalf("ended with %d; there ran still: %q; %s", code, next.out, next.err)
			}
		})
	}
}

// A TTL of 10 s would be the wait if only the TTL ended a killed holder's lock.
func TestAfterAKillTheNextHolderDoesNotWaitForTheTTL(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 3
	}
	w := newWorld(t)
	var waits []time.Duration
	for range rounds {
		p, _ := w.holding(1, []string{"--ttl", "10"})
		next := w.start("lock", "n", "--", "echo", "mine")
		w.awaitWaiters(1)
		at := time.Now()
		p.signal(unix.SIGKILL)
		next.line()
		waits = append(waits, time.Since(at))
		next.wait()
	}
	slices.Sort(waits)
	median := waits[len(waits)/2]
	t.Logf("kill -9 to the next holder's first word: median %v of %d, %v to %v", median, rounds, waits[0], waits[rounds-1])
	if median > 500*time.Millisecond {
		t.Errorf("the median is %v; the next holder starts within 0.5 s, whatever the TTL", median)
	}
}

func TestTheCommandFrozenEndsItsChildBeforeTheNextHolderStartsAndExits70(t *testing.T) {
	for name, words := range map[string][]string{"obeys TERM": {}, "ignores TERM": {"stubborn"}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p, kids := w.holding(1, []string{"--ttl", "2"}, words...)
			next := w.start("lock", "n", "--", lockstepBinary, "version")
			w.awaitWaiters(1)
			p.signal(unix.SIGSTOP)
			at := time.Now()
			next.line()
			t.Logf("SIGSTOP to the next holder: %v, TTL 2s", time.Since(at))
			if kids[0].running() {
				t.Error("the frozen one's child runs beside the next holder")
			}
			p.signal(unix.SIGCONT)
			if code := p.wait(); code != 70 || !oneLine(p.err.String()) || !strings.Contains(p.err.String(), "lost") {
				t.Errorf("ended with %d, said %q", code, p.err)
			}
		})
	}
}

func TestTheGuardianKilledEndsTheGroupReleasesAndExits70(t *testing.T) {
	w := newWorld(t)
	p, kids := w.holding(2, []string{"--ttl", "2"}, "stubborn", "parent", "stubborn")
	if err := unix.Kill(guardianOf(t, p, kids), unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if code := p.wait(); code != 70 || !oneLine(p.err.String()) {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
	for _, k := range kids {
		if k.running() {
			t.Errorf("process %d outlived the lock", k.pid)
		}
	}
	w.expect(0, "lock", "--try", "n", "--", "true")
}

func TestReleaseByForceEndsTheHoldersCommandAndItExits70(t *testing.T) {
	w := newWorld(t)
	p, kids := w.holding(1, []string{"--ttl", "2"}, "stubborn")
	w.expect(64, "release", "n")
	w.expect(64, "release", "--force", "n") // nobody to ask
	if out, _ := w.expect(0, "release", "--force", "--yes", "n"); !strings.Contains(out, "pid") {
		t.Errorf("it does not say from whom: %q", out)
	}
	if code := p.wait(); code != 70 || !oneLine(p.err.String()) || !strings.Contains(p.err.String(), `"n"`) {
		t.Errorf("ended with %d, said %q", code, p.err)
	}
	if kids[0].running() {
		t.Error("the command outlived its lock")
	}
	out, _ := w.expect(0, "release", "--force", "n")
	if !strings.Contains(out, "nobody") {
		t.Errorf("of a free lock it said %q", out)
	}
}

// What ends well beside another holder has not gone well.
func TestALossThatShowsOnlyAtTheEndIs70AsWell(t *testing.T) {
	w := newWorld(t)
	_, err := w.expect(70, "lock", "n", "--", lockstepBinary, "release", "--force", "--yes", "n")
	if !oneLine(err) || !strings.Contains(err, "lost") {
		t.Errorf("it said %q", err)
	}
}

// A waiter that is taken out queues again: it is the place that it loses.
func TestReleaseByForceTakesOneWaiterOutOfTheLineByItsID(t *testing.T) {
	w := newWorld(t)
	w.holding(1, nil)
	for i := range 2 {
		w.start("lock", "--note", fmt.Sprint("waiter ", i), "n", "--", "true")
		w.awaitWaiters(i + 1)
	}
	before := w.line("n")
	w.expect(0, "release", "--force", "--yes", "--id", before.Waiters[0].ID, "n")
	w.await(func() bool {
		now := w.line("n").Waiters
		return len(now) == 2 && now[0].Note == "waiter 1" && now[1].Note == "waiter 0"
	}, "the other one is next")
	if now := w.line("n"); len(now.Holders) != 1 || now.Holders[0].ID != before.Holders[0].ID {
		t.Errorf("the holder went too: %+v", now)
	}
}

// A shell in between that dies must not leave its child running without the lock.
func TestAShellInBetweenThatIsKilledTakesItsChildAlong(t *testing.T) {
	w := newWorld(t)
	p := w.start("lock", "--ttl", "2", "n", "-c", `sleep 1000 & echo $!; kill -9 $$`)
	child := w.kid(p.line())
	if code := p.wait(); code != 128+int(unix.SIGKILL) {
		t.Errorf("ended with %d", code)
	}
	if child.running() {
		t.Error("the shell's child runs without the lock")
	}
}

func TestAChildThatExecsIsStillEnded(t *testing.T) {
	w := newWorld(t)
	p := w.start("lock", "--ttl", "2", "n", "-c", "echo $$; exec sleep 1000")
	child := w.kid(p.line())
	p.signal(unix.SIGKILL)
	w.await(func() bool { return !child.running() }, "the end of what was exec'd")
}

// docs/command.md has this limit: who leaves the group is not ended.
func TestAChildInASessionOfItsOwnIsTheDocumentedLimit(t *testing.T) {
	w := newWorld(t)
	p := w.start("lock", "n", "-c", w.leaver("", ">/dev/null 2>&1")+"; sleep 1000")
	daemon := w.kid(p.line())
	p.signal(unix.SIGTERM)
	p.wait()
	if !daemon.running() {
		t.Error("it was ended: the documentation says otherwise")
	}
}

// The lock ends with the command, and not with whoever inherited a descriptor.
func TestWhoOutlivesTheGroupKeepsNoLock(t *testing.T) {
	w := newWorld(t)
	p := w.start("lock", "n", "-c", w.leaver("", ">/dev/null 2>&1"))
	w.kid(p.line())
	p.wait()
	w.expect(0, "lock", "--try", "n", "--", "true")
}

// One that was suspended while it waited still wants the lock (^Z, a laptop's lid).
func TestAWaiterWhoseSessionWasLostWaitsAgain(t *testing.T) {
	w := newWorld(t)
	holder, _ := w.holding(1, []string{"--ttl", "2"})
	p := w.start("lock", "--ttl", "1", "-v", "n", "--", "echo", "mine")
	w.awaitWaiters(1)
	p.signal(unix.SIGSTOP)
	w.awaitWaiters(0)
	p.signal(unix.SIGCONT)
	w.awaitWaiters(1)
	holder.signal(unix.SIGTERM)
	if code := p.wait(); code != 0 || p.out.String() != "mine\n" {
		t.Fatalf("ended with %d: %s", code, p.err)
	}
}
