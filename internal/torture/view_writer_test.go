package torture

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
)

// The steady writer: change i is of one of 200 keys, and every seventh is a delete. It
// is made by lane i%lanes. A lane makes its changes in the order of their numbers, and
// has keys of its own, so the order of each key's changes is known.
const keys, lanes = 200, 25

// progress is the next change of each lane.
type progress [lanes]int

func (p *progress) made(i int) { p[i%lanes] = i + lanes }

func begun() (p progress) {
	for lane := range p {
		p[lane] = lane
	}
	return p
}

// work is changes to make.
type work struct {
	m        *lockstep.Map
	next     progress
	to       int                                    // ends before this one
	together int                                    // changes in a commit
	due      func(ctx context.Context, i int) error // waits until it is time for change i
	made     func(i int)                            // is told of each, one at a time
}

// do is done when all are made. While made runs, no lane goes on beyond the commit that
// it is at.
func (w *work) do(ctx context.Context) error {
	var all sync.WaitGroup
	defer all.Wait()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	made := make(chan int)
	for _, first := range w.next {
		all.Go(func() {
			if err := w.lane(ctx, first, made); err != nil {
				stop(err)
			}
		})
	}
	go func() {
		all.Wait()
		close(made)
	}()
	for i := range made {
		w.made(i)
	}
	return context.Cause(ctx)
}

func (w *work) lane(ctx context.Context, next int, made chan<- int) error {
	for next < w.to {
		var changes []int
		for ; next < w.to && len(changes) < w.together; next += lanes {
			changes = append(changes, next)
		}
		if err := w.due(ctx, changes[len(changes)-1]); err != nil {
			return err
		}
		if _, err := w.m.Commit(ctx, commitOf(changes)); err != nil {
			return err
		}
		for _, i := range changes {
			select {
			case made <- i:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

func commitOf(changes []int) (tx lockstep.Tx) {
	for _, i := range changes {
		e := lockstep.Entry{Key: strconv.Itoa(i % keys), Value: []byte(strconv.Itoa(i))}
		if i%7 == 3 {
			e = lockstep.Entry{Key: e.Key, Deleted: true}
		}
		tx.Put = append(tx.Put, e)
	}
	return tx
}

// A long trial's writer makes so many changes a second, and a little more than it must
// have made in the end. The clock is that of the service: what could not be made because
// it was down is not made up, and what was late for any other reason is.
const (
	rate = 1000
	pace = time.Second / (rate + rate/20)
)

// upClock tells for how long a service has been up.
type upClock struct {
	began time.Time
	down  atomic.Int64 // for so many nanoseconds since then
}

func (c *upClock) now() time.Duration { return time.Since(c.began) - time.Duration(c.down.Load()) }

func (c *upClock) due(ctx context.Context, i int) error {
	for {
		left := time.Duration(i)*pace - c.now()
		if left <= 0 {
			return nil
		}
		select {
		case <-time.After(left):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// atOnce: changes are due as fast as they can be made.
func atOnce(context.Context, int) error { return nil }

// writerEnv makes this program one that only writes: its value is a job. It prints the
// number of each change that it has made.
const writerEnv = "LOCKSTEP_TORTURE_WRITER"

type job struct {
	URL  string // of the file
	Next progress
	To   int
}

func writeTo(order string) error {
	var j job
	if err := json.Unmarshal([]byte(order), &j); err != nil {
		return err
	}
	ctx := context.Background()
	c, err := lockstep.Open(ctx, j.URL, sqliteengine.Driver, lockstep.WithTTL(hang), lockstep.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	w := work{m: c.Map("m"), next: j.Next, to: j.To, together: 1, due: atOnce, made: func(i int) { fmt.Println(i) }}
	if err := w.do(ctx); err != nil {
		return err
	}
	return c.Close()
}

// writerProcess is the writer as a process, which goes on in another where it was
// killed.
type writerProcess struct {
	t   *testing.T
	url string

	mu     sync.Mutex
	run    *exec.Cmd // nil: there is none to kill
	made   int       // by it
	killed bool
}

// life is how many changes a process makes at least, so that the writer comes on
// however slow the machine is.
const life = 1000

// kill ends the process if it has lived its life.
func (w *writerProcess) kill() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.run == nil || w.made < life {
		return false
	}
	if err := w.run.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		w.t.Error(err)
	}
	w.killed, w.run = true, nil
	return true
}

func (w *writerProcess) write(ctx context.Context, changes int, made func(i int)) error {
	j := job{URL: w.url, Next: begun(), To: changes}
	for slices.Min(j.Next[:]) < changes {
		err := w.do(ctx, j, func(i int) {
			j.Next.made(i)
			made(i)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// do is the life of one process.
func (w *writerProcess) do(ctx context.Context, j job, made func(i int)) error {
	order, err := json.Marshal(j)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), writerEnv+"="+string(order))
	var failure strings.Builder
	cmd.Stderr = &failure
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	w.runs(cmd)
	for lines := bufio.NewScanner(out); lines.Scan(); {
		i, err := strconv.Atoi(lines.Text())
		if err != nil {
			failure.WriteString(lines.Text() + "\n")
			continue
		}
		w.has()
		made(i)
	}
	err = cmd.Wait()
	if err != nil && !w.ended() {
		return fmt.Errorf("the writer's process: %w: %s", err, failure.String())
	}
	return nil
}

func (w *writerProcess) runs(cmd *exec.Cmd) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run, w.made, w.killed = cmd, 0, false
}

func (w *writerProcess) has() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
}

// ended says whether the process that has ended was killed.
func (w *writerProcess) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run = nil
	return w.killed
}
