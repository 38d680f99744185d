//go:build unix

package sqliteengine

import (
	"bufio"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine"
)

func TestNextIsGrantedWhenTheHoldersProcessDies(t *testing.T) {
	dir := t.TempDir()
	holder := spawn(t, dir)
	holder.ask("begin %s", long)
	token := holder.ask("acquire n")

	next := enqueue(t, begin(t, open(t, dir), long), mutex("n"))
	holder.kill()
	g := mustGrant(t, next)
	if first, _ := strconv.ParseUint(token, 10, 64); uint64(g.Token) <= first {
		t.Errorf("token %d after %s", g.Token, token)
	}
}

// Also a waiter dies, and nobody is left who looked after the holder for the
// third.
func TestThirdIsGrantedWhenHolderAndFirstWaiterDie(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	holder, first := spawn(t, dir), spawn(t, dir)
	holder.ask("begin %s", long)
	holder.ask("acquire n")
	first.ask("begin %s", long)
	first.send("acquire n")
	waitFor(t, e, "n", func(l engine.Line) bool { return len(l.Waiters) == 1 })
	third := enqueue(t, begin(t, e, long), mutex("n"))

	first.kill()
	holder.kill()
	mustGrant(t, third)
}

// Others need not wait for the TTL to see that a member is gone.
func TestAMemberWhoseProcessDiesIsGoneAtOnce(t *testing.T) {
	dir := t.TempDir()
	c, err := lockstep.New(open(t, dir), lockstep.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	member := spawn(t, dir)
	member.ask("begin %s", long)
	if answer := member.ask("join g a"); answer != "joined" {
		t.Fatal(answer)
	}
	shown := 0
	for members, err := range c.Group("g").Watch(guarded(t)) {
		switch {
		case err != nil:
			t.Fatal(err)
		case shown == 1 && len(members) == 0:
			return
		case shown > 0 || len(members) != 1 || members[0].ID != "a":
			t.Fatalf("shown %+v", members)
		}
		shown++
		member.kill()
	}
}

func TestStoppedHolderKeepsItsTTLAndNoLonger(t *testing.T) {
	dir := t.TempDir()
	holder := spawn(t, dir)
	began := time.Now()
	holder.ask("begin 2s")
	holder.ask("acquire n")
	next := enqueue(t, begin(t, open(t, dir), long), mutex("n"))
	holder.signal(syscall.SIGSTOP)

	if g := mustGrant(t, next); g.at.Sub(began) < 2*time.Second {
		t.Errorf("granted %v after the holder's session began, whose TTL is 2 s", g.at.Sub(began))
	}
	holder.signal(syscall.SIGCONT)
	if answer := holder.ask("renew"); answer != "session ended" {
		t.Errorf("the holder renews: %s", answer)
	}
}

// A process stopped inside the gate holds up who writes, and no renewal.
func TestProcessStoppedInTheGateStopsNoRenewal(t *testing.T) {
	dir := t.TempDir()
	var log logBook
	e := open(t, dir, log.option())
	s := begin(t, e, long)
	c := mutex("n")
	acquire(t, s, c)
	stopped := spawn(t, dir)
	stopped.ask("gate")
	stopped.signal(syscall.SIGSTOP)
	waitStopped(t, stopped.cmd.Process.Pid)

	for range 3 {
		if r, err := s.Renew(guarded(t), []*engine.Claim{c}); err != nil || len(r.Lost) > 0 {
			t.Fatalf("renew: %+v, %v", r, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := s.Acquire(ctx, mutex("other"), false)
		failed <- err
	}()
	for !strings.Contains(log.String(), "stopped") {
		time.Sleep(10 * time.Millisecond) // polls the log: it comes after 2 s
	}
	cancel()
	err := <-failed
	mustBe(t, err, context.Canceled)
	if pid := strconv.Itoa(stopped.cmd.Process.Pid); !strings.Contains(log.String(), pid) {
		t.Errorf("the log does not say who holds the gate (%s): %s", pid, log.String())
	}
	// And nobody is kept from leaving.
	if err := e.Close(); err != nil {
		t.Error(err)
	}
}

func waitStopped(t *testing.T, pid int) {
	t.Helper()
	for range 1000 {
		if s := processState(int64(pid)); s == "stopped" || s == "state not known" {
			return
		}
		time.Sleep(time.Millisecond) // polls the kernel
	}
	t.Fatal("the child did not stop")
}

// An exclusion test with nothing inside misses most violations: each holder
// makes a file that must not be there, and removes it.
func TestContendingProcessesExcludeEachOtherAndTokensRise(t *testing.T) {
	const processes, rounds = 8, 40
	dir := t.TempDir()
	file := filepath.Join(t.TempDir(), "tokens")
	var all []*child
	for range processes {
		c := spawn(t, dir)
		c.ask("begin %s", long)
		all = append(all, c)
	}
	for _, c := range all {
		c.send("contend n " + strconv.Itoa(rounds) + " " + file)
	}
	for _, c := range all {
		if answer := c.hear(); answer != "done" {
			t.Fatal(answer)
		}
	}
	last, n := uint64(0), 0
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); n++ {
		token, err := strconv.ParseUint(s.Text(), 10, 64)
		if err != nil || token <= last {
			t.Fatalf("token %q after %d", s.Text(), last)
		}
		last = token
	}
	if n != processes*rounds {
		t.Errorf("%d turns, want %d", n, processes*rounds)
	}
}

// The command's guardian keeps the session of a killed command until the child's
// group is gone.
func TestSessionLivesWhileAnotherProcessKeepsItsFile(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	holder := spawn(t, dir)
	holder.ask("begin %s", long)
	holder.ask("acquire n")
	pid, err := strconv.Atoi(holder.ask("guard"))
	if err != nil {
		t.Fatal(err)
	}
	next := enqueue(t, begin(t, e, long), mutex("n"))
	holder.kill()

	ids, err := files(e.dir.sessions())
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		if !e.isAlive(id) {
			t.Errorf("session %x counts as dead while the guardian has its file", id)
		}
	}
	select {
	case g := <-next:
		t.Fatalf("granted while the guardian lives: %+v", g)
	default:
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	mustGrant(t, next)
}

func TestProcessesAddToOneEntryExactly(t *testing.T) {
	const rounds = 40
	dir := t.TempDir()
	a, b := spawn(t, dir), spawn(t, dir)
	a.send("append m " + strconv.Itoa(rounds))
	b.send("append m " + strconv.Itoa(rounds))
	if x, y := a.hear(), b.hear(); x != "done" || y != "done" {
		t.Fatal(x, y)
	}
	entry, err := open(t, dir).Store().Get(guarded(t), "m", "k")
	if err != nil || string(entry.Value) != strconv.Itoa(2*rounds) {
		t.Errorf("%q, %v; want %d", entry.Value, err, 2*rounds)
	}
}

// A thousand each in the long form; with the race detector that takes minutes.
func TestSoakEightProcessesCountExactly(t *testing.T) {
	const processes = 8
	rounds := 60
	if os.Getenv("LOCKSTEP_SOAK") != "" {
		rounds = 1000
	}
	dir := t.TempDir()
	var all []*child
	for range processes {
		all = append(all, spawn(t, dir))
	}
	for _, c := range all {
		c.send("count hits " + strconv.Itoa(rounds))
	}
	for _, c := range all {
		if answer := c.hear(); answer != "done" {
			t.Fatal(answer)
		}
	}
	c, err := lockstep.New(open(t, dir), lockstep.WithLogger(nil))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if n, err := c.Counter("hits").Get(guarded(t)); err != nil || n != int64(processes*rounds) {
		t.Errorf("%d, %v; want %d", n, err, processes*rounds)
	}
}

func TestWatchSeesEveryCommitOfAnotherProcess(t *testing.T) {
	const commits = 20
	dir := t.TempDir()
	e := open(t, dir)
	other := spawn(t, dir)
	other.ask("put m k first")
	next := 0
	for event, err := range e.Store().Watch(guarded(t), "m", 0) {
		if err != nil {
			t.Fatal(err)
		}
		if len(event.Entries) != 1 || next > 0 && (event.Full || string(event.Entries[0].Value) != strconv.Itoa(next)) {
			t.Fatalf("event %+v after commit %d", event, next)
		}
		if next++; next > commits {
			return
		}
		other.ask("put m k %d", next)
	}
}

// A process that dies inside its transaction leaves the lock and the log to the
// next, who is not told that the database is busy.
func TestNobodyIsToldBusyWhenAWriterDies(t *testing.T) {
	dir := t.TempDir()
	e := open(t, dir)
	s := begin(t, e, long)
	for range 5 {
		other := spawn(t, dir)
		other.ask("begin %s", long)
		other.send("contend n 1000000 " + filepath.Join(t.TempDir(), "tokens"))
		for range 20 {
			c := mutex("mine")
			acquire(t, s, c)
			release(t, s, c)
		}
		other.kill()
		if _, err := s.Renew(guarded(t), nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestOpenOfAnotherBootIsRefusedWhileSomebodyIsHere(t *testing.T) {
	dir := t.TempDir()
	other := spawn(t, dir)
	other.ask("begin %s", long)
	_, err := Open(guarded(t), dir, withBoot("another"))
	mustBe(t, err, engine.ErrUnusable)
	if !strings.Contains(err.Error(), "another clock") {
		t.Errorf("the error does not say why: %v", err)
	}
	if errors.Is(err, engine.ErrInvalid) {
		t.Error("the target is not to blame")
	}
}
