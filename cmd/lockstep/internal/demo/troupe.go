//go:build unix

package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// worker is a worker process as the stage sees it.
type worker struct {
	name     string
	cmd      *exec.Cmd
	words    io.WriteCloser
	messages chan message // closed when it has ended
}

// hire starts a worker.
func hire(ctx context.Context, name, url string, ttl time.Duration) (*worker, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	w := &worker{name: name, messages: make(chan message, 16)}
	w.cmd = exec.CommandContext(ctx, exe, Hidden, name, url, ttl.String())
	w.cmd.Stderr = os.Stderr
	if w.words, err = w.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := w.cmd.Start(); err != nil {
		return nil, err
	}
	go w.listen(out) // ends with the worker, which dismiss waits for
	return w, nil
}

func (w *worker) listen(out io.Reader) {
	defer close(w.messages)
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		var m message
		if json.Unmarshal(lines.Bytes(), &m) == nil {
			w.messages <- m
		}
	}
}

// expect waits for the worker's next message, which has to be this event.
func (w *worker) expect(ctx context.Context, event string) (message, error) {
	select {
	case m, ok := <-w.messages:
		switch {
		case !ok:
			return m, fmt.Errorf("worker %s has ended where %q was expected", w.name, event)
		case m.Event != event:
			return m, fmt.Errorf("worker %s: %q where %q was expected", w.name, m.Event, event)
		}
		return m, nil
	case <-ctx.Done():
		return message{}, fmt.Errorf("worker %s: no %q in time", w.name, event)
	}
}

func (w *worker) tell(word string) error {
	_, err := fmt.Fprintln(w.words, word)
	return err
}

// kill is kill -9. It returns when the worker was sent the signal.
func (w *worker) kill() (at int64, err error) {
	at = now()
	return at, w.cmd.Process.Kill()
}

// freeze stops the worker as a debugger, a full swap or a paused virtual machine
// does, and returns when it stands still.
func (w *worker) freeze() (at int64, err error) {
	at = now()
	if err := w.cmd.Process.Signal(unix.SIGSTOP); err != nil {
		return at, err
	}
	for {
		var st unix.WaitStatus
		_, err := unix.Wait4(w.cmd.Process.Pid, &st, unix.WUNTRACED, nil)
		if err != unix.EINTR {
			return at, err
		}
	}
}

func (w *worker) thaw() error { return w.cmd.Process.Signal(unix.SIGCONT) }

// dismiss ends the worker, however it is, and waits for it.
func (w *worker) dismiss() {
	_ = w.cmd.Process.Kill() // a stopped one is ended too
	_ = w.words.Close()
	for range w.messages { // what it still said is not part of the story
	}
	_ = w.cmd.Wait()
}
