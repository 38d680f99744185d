package torture

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
)

// The steady writer: change i is of one of 200 keys, and every seventh is a delete.

// abreast is how many changes the writer makes at a time.
const abreast = 16

// makeChanges makes the changes from one number up to another, so many in each commit,
// and says of each that it is made. While it says so it makes none.
func makeChanges(ctx context.Context, m *lockstep.Map, from, to, together int, made func(i int)) error {
	for ; from < to; from += abreast {
		end := min(from+abreast, to)
		var all sync.WaitGroup
		errs := make([]error, abreast)
		for i := from; i < end; i += together {
			all.Go(func() { _, errs[i-from] = m.Commit(ctx, changesOf(i, min(i+together, end))) })
		}
		all.Wait()
		if err := errors.Join(errs...); err != nil {
			return err
		}
		for i := from; i < end; i++ {
			made(i)
		}
	}
	return nil
}

func changesOf(from, to int) (tx lockstep.Tx) {
	const keys = 200
	for i := from; i < to; i++ {
		e := lockstep.Entry{Key: strconv.Itoa(i % keys), Value: []byte(strconv.Itoa(i))}
		if i%7 == 3 {
			e = lockstep.Entry{Key: e.Key, Deleted: true}
		}
		tx.Put = append(tx.Put, e)
	}
	return tx
}

// writerEnv makes this program one that only writes: its value is the numbers of the
// first change and of the last but one, and the file's URL. It prints the number of
// each change that it has made.
const writerEnv = "LOCKSTEP_TORTURE_WRITER"

func writeTo(job string) error {
	var from, to int
	var url string
	if _, err := fmt.Sscan(job, &from, &to, &url); err != nil {
		return err
	}
	ctx := context.Background()
	c, err := lockstep.Open(ctx, url, sqliteengine.Driver, lockstep.WithTTL(hang), lockstep.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return err
	}
	if err := makeChanges(ctx, c.Map("m"), from, to, 1, func(i int) { fmt.Println(i) }); err != nil {
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
	for next := 0; next < changes; {
		err := w.runFrom(ctx, next, changes, func(i int) {
			next = i + 1
			made(i)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// runFrom is the life of one process.
func (w *writerProcess) runFrom(ctx context.Context, from, to int, made func(i int)) error {
	cmd := exec.CommandContext(ctx, os.Args[0])
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %d %s", writerEnv, from, to, w.url))
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
		w.has(i - from + 1)
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

func (w *writerProcess) has(made int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made = made
}

// ended says whether the process that has ended was killed.
func (w *writerProcess) ended() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.run = nil
	return w.killed
}
