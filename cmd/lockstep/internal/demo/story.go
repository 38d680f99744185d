//go:build unix

package demo

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
)

const (
	ttl    = 2 * time.Second
	pace   = 350 * time.Millisecond // a turn's length, so that eyes can follow
	longer = 28 * time.Second       // the whole of it; it takes about ten
)

// stage is one performance.
type stage struct {
	screen  Screen
	lanes   *lanes
	dir     string
	url     string
	client  *lockstep.Client // to look at the line
	storage *storage
	workers map[string]*worker
	start   int64
	turns   int

	handovers  []time.Duration // after a release
	afterKill  time.Duration
	afterFroze time.Duration
}

// Run performs the demo. An error says what did not come true.
func Run(ctx context.Context, screen Screen) (err error) {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, unix.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, longer)
	defer cancel()
	s := &stage{screen: screen, lanes: newLanes("A", "B", "C"), workers: map[string]*worker{}, start: now()}
	if s.dir, err = os.MkdirTemp("", "lockstep-demo-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.dir)) }()
	s.url = (&url.URL{Scheme: "file", Path: filepath.Join(s.dir, "engine")}).String()
	if s.client, err = lockstep.Open(ctx, s.url, sqliteengine.Driver, lockstep.WithLogger(nil)); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.client.Close()) }()
	file, err := os.Create(filepath.Join(s.dir, "report.txt"))
	if err != nil {
		return err
	}
	defer file.Close()
	s.storage = &storage{file: file}
	defer func() {
		for _, w := range s.workers {
			w.dismiss()
		}
	}()
	err = s.perform(ctx)
	if errors.Is(ctx.Err(), context.Canceled) {
		return ctx.Err() // ^C
	}
	if err != nil {
		return fmt.Errorf("the story did not come true: %w", err)
	}
	if err := s.check(); err != nil {
		return fmt.Errorf("the story did not come true: %w", err)
	}
	s.epilogue()
	return nil
}

// perform is the story. The line is first come, first served, so that who follows
// whom is known.
func (s *stage) perform(ctx context.Context) error {
	s.screen.say("\n  Three worker processes, one lock, one file to write; a lock of a worker that is gone\n"+
		"  lasts %v (its TTL). The engine is a directory: nothing was installed or started.\n", ttl)
	s.screen.head(s.lanes)

	s.screen.scene("They take turns")
	if err := s.enter(ctx); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return s.pass(ctx, "A", "B") },
		func(ctx context.Context) error { return s.pass(ctx, "B", "C") },
		func(ctx context.Context) error { return s.pass(ctx, "C", "A") },
		func(ctx context.Context) error { return s.pass(ctx, "A", "B") },
		func(ctx context.Context) error { return s.killed(ctx, "B", "C") },
		func(ctx context.Context) error { return s.pass(ctx, "C", "A") },
		func(ctx context.Context) error { return s.frozen(ctx, "A", "C") },
		func(ctx context.Context) error { return s.thawed(ctx, "A") },
		func(ctx context.Context) error { return s.pass(ctx, "C", "A") },
		func(ctx context.Context) error { return s.write(ctx, "A") },
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// enter starts the workers one after the other, so that their order is known.
func (s *stage) enter(ctx context.Context) error {
	for i, name := range s.lanes.names {
		w, err := hire(ctx, name, s.url, ttl)
		if err != nil {
			return err
		}
		s.workers[name] = w
		if i == 0 {
			if _, err := s.granted(ctx, name, "A is the first, and holds"); err != nil {
				return err
			}
			continue
		}
		if err := s.waits(ctx, name); err != nil {
			return err
		}
	}
	return nil
}

// waits is when the worker stands in line.
func (s *stage) waits(ctx context.Context, name string) error {
	for ctx.Err() == nil {
		line, err := s.client.Line(ctx, lockName)
		if err != nil {
			return err
		}
		for _, w := range line.Waiters {
			if string(w.Note) == "worker "+name {
				s.lanes.state[name] = s.lanes.sign.waits
				return nil
			}
		}
		rest(ctx, 5*time.Millisecond)
	}
	return fmt.Errorf("worker %s never waited", name)
}

// granted is when the worker holds the lock.
func (s *stage) granted(ctx context.Context, name, text string) (message, error) {
	m, err := s.workers[name].expect(ctx, holds)
	if err != nil {
		return m, err
	}
	s.lanes.state[name] = s.lanes.sign.holds
	s.screen.show(s.lanes, event{at: s.since(m.At), worker: name, kind: evHolds, token: m.Token, text: text})
	return m, nil
}

// pass: the holder writes and gives the lock back, and the next has it.
func (s *stage) pass(ctx context.Context, from, to string) error {
	rest(ctx, pace)
	if err := s.write(ctx, from); err != nil {
		return err
	}
	gave, err := s.workers[from].expect(ctx, released)
	if err != nil {
		return err
	}
	s.lanes.state[from] = s.lanes.sign.waits
	got, err := s.workers[to].expect(ctx, holds)
	if err != nil {
		return err
	}
	d := time.Duration(got.At - gave.At)
	s.handovers = append(s.handovers, d)
	s.hold(to, got, d, fmt.Sprintf("%s holds, %s after %s let go", to, took(d), from))
	return s.waits(ctx, from)
}

func (s *stage) hold(name string, m message, d time.Duration, text string) {
	s.lanes.state[name] = s.lanes.sign.holds
	s.screen.show(s.lanes, event{at: s.since(m.At), worker: name, kind: evHolds, token: m.Token, took: d, text: text})
}

// write has the worker write a line, which the storage takes.
func (s *stage) write(ctx context.Context, name string) error {
	s.turns++
	w := s.workers[name]
	if err := w.tell(fmt.Sprintf("%s line %d, by %s", wordWrite, s.turns, name)); err != nil {
		return err
	}
	m, err := w.expect(ctx, writes)
	if err != nil {
		return err
	}
	stored, err := s.storage.write(m.Token, m.Text)
	if err != nil {
		return err
	}
	if !stored {
		return fmt.Errorf("the write of %s, who holds, was refused", name)
	}
	s.screen.show(s.lanes, event{at: s.since(m.At), worker: name, kind: evStored, text: name + " writes its line: stored"})
	return w.tell(wordStored)
}

// killed: the holder is killed, and the next has the lock at once.
func (s *stage) killed(ctx context.Context, name, next string) error {
	rest(ctx, pace)
	s.screen.scene("One is killed while it holds")
	at, err := s.workers[name].kill()
	if err != nil {
		return err
	}
	s.lanes.state[name] = s.lanes.sign.dead
	s.screen.show(s.lanes, event{at: s.since(at), worker: name, kind: evKilled, text: name + " is killed (kill -9)"})
	got, err := s.workers[next].expect(ctx, holds)
	if err != nil {
		return err
	}
	s.afterKill = time.Duration(got.At - at)
	s.hold(next, got, s.afterKill, fmt.Sprintf("%s holds, %s after the kill", next, took(s.afterKill)))
	return nil
}

// frozen: the holder stands still for longer than its TTL, and the next has the
// lock. What the holder was about to write is on its way.
func (s *stage) frozen(ctx context.Context, name, next string) error {
	rest(ctx, pace)
	s.screen.scene("One is frozen while it holds, on the way to its write")
	w := s.workers[name]
	at, err := w.freeze()
	if err != nil {
		return err
	}
	if err := w.tell(wordWrite + " too late, by " + name); err != nil {
		return err
	}
	s.lanes.state[name] = s.lanes.sign.frozen
	s.screen.show(s.lanes, event{at: s.since(at), worker: name, kind: evFrozen, text: name + " is frozen (SIGSTOP)"})
	got, err := s.workers[next].expect(ctx, holds)
	if err != nil {
		return err
	}
	s.afterFroze = time.Duration(got.At - at)
	s.hold(next, got, s.afterFroze, fmt.Sprintf("%s holds, %s after the freeze", next, took(s.afterFroze)))
	rest(ctx, pace)
	if err := s.write(ctx, next); err != nil {
		return err
	}
	gave, err := s.workers[next].expect(ctx, released)
	if err != nil {
		return err
	}
	got, err = s.workers[next].expect(ctx, holds)
	if err != nil {
		return err
	}
	s.hold(next, got, time.Duration(got.At-gave.At), next+" holds again: nobody else is there")
	return nil
}

// thawed: the frozen one goes on where it stopped, and its write comes too late.
func (s *stage) thawed(ctx context.Context, name string) error {
	rest(ctx, pace)
	s.screen.scene("It goes on, believing that it holds")
	w := s.workers[name]
	at := now()
	if err := w.thaw(); err != nil {
		return err
	}
	s.lanes.state[name] = ' '
	s.screen.show(s.lanes, event{at: s.since(at), worker: name, kind: evThawed, text: name + " goes on (SIGCONT)"})
	m, err := w.expect(ctx, writes)
	if err != nil {
		return err
	}
	stored, err := s.storage.write(m.Token, m.Text)
	if err != nil {
		return err
	}
	if stored {
		return fmt.Errorf("the late write of %s was accepted", name)
	}
	s.screen.show(s.lanes, event{
		at: s.since(m.At), worker: name, kind: evRefused, token: m.Token, text: name + "'s late write is REFUSED: an old token",
	})
	if err := w.tell("refused"); err != nil {
		return err
	}
	gone, err := w.expect(ctx, lost)
	if err != nil {
		return err
	}
	if err := s.waits(ctx, name); err != nil {
		return err
	}
	s.screen.show(s.lanes, event{at: s.since(gone.At), worker: name, kind: evLost, text: name + " learns that it lost the lock, and queues"})
	return nil
}

// check looks whether all that was shown is so.
func (s *stage) check() error {
	content, err := os.ReadFile(s.storage.file.Name())
	if err != nil {
		return err
	}
	if lines := strings.Count(string(content), "\n"); lines != s.turns || len(s.storage.tokens) != s.turns {
		return fmt.Errorf("%d turns, %d lines", s.turns, lines)
	}
	for i, t := range s.storage.tokens[1:] {
		if t <= s.storage.tokens[i] {
			return fmt.Errorf("token %d came after %d", t, s.storage.tokens[i])
		}
	}
	if len(s.storage.refused) != 1 {
		return fmt.Errorf("%d writes were refused, not the one late one", len(s.storage.refused))
	}
	return nil
}

func (s *stage) epilogue() {
	if s.screen.JSON {
		s.screen.object(event{at: s.since(now()), kind: "done"})
		return
	}
	slices.Sort(s.handovers)
	median := s.handovers[len(s.handovers)/2]
	row := func(what, figure string) { s.screen.say("  %-30s %s", what, figure) }
	s.screen.scene("All of it came true")
	row("lines in the file", fmt.Sprintf("%d, with rising tokens", s.turns))
	row("late writes", fmt.Sprintf("%d, refused", len(s.storage.refused)))
	row("hand-over after a release", took(median)+" (median)")
	row("hand-over after kill -9", took(s.afterKill))
	row("hand-over from the frozen one", fmt.Sprintf("%s (TTL %v)", took(s.afterFroze), ttl))
	s.screen.say("\n  Now with a command of yours, which never runs twice at a time:\n\n      %s\n",
		s.screen.paint(bold, "lockstep lock nightly -- ./report.sh"))
}

func (s *stage) since(at int64) time.Duration { return time.Duration(at - s.start) }

// rest lets people see; nothing depends on it.
func rest(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
