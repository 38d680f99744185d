//go:build unix

package guard

import (
	"bytes"
	"encoding/json"
	"io"
	"time"
)

// The two pipes carry one JSON object a line. A line is shorter than PIPE_BUF,
// so a write is whole or nothing, also where it must not block.

// order is what the command tells the guardian.
type order struct {
	Op      string        `json:"op"`
	Window  int64         `json:"window,omitempty"` // ns of clock: the end of the trust window
	Grace   time.Duration `json:"grace,omitempty"`  // from TERM to KILL, at most
	Lead    time.Duration `json:"lead,omitempty"`   // from KILL to the end of the window
	Suspend bool          `json:"suspend,omitempty"`
	Signal  int           `json:"signal,omitempty"`
}

// The orders.
const (
	opRun    = "run"    // start the child; carries the rules
	opWindow = "window" // the window moved
	opSignal = "signal" // pass this signal to the child's group
	opLost   = "lost"   // the lock may be somebody else's already: end the group fast
)

// report is what the guardian tells the command.
type report struct {
	Event  string `json:"event"`
	PID    int    `json:"pid,omitempty"`    // started: of the child, and of its group
	Signal int    `json:"signal,omitempty"` // stopped: what stopped it. gone: what ended it
	Code   int    `json:"code,omitempty"`   // gone: its exit code. failed: the shell's 126 or 127
	Cause  Cause  `json:"cause,omitempty"`  // gone: why the guardian ended it
	Error  string `json:"error,omitempty"`  // failed: why it could not be started
}

// The reports.
const (
	evStarted = "started"
	evFailed  = "failed" // it could not be started; the last report
	evStopped = "stopped"
	evGone    = "gone" // nobody of the group is left; the last report
)

func send(w io.Writer, msg any) error {
	line, err := json.Marshal(msg)
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}

// inbox cuts what was read so far into messages.
type inbox struct{ rest []byte }

func (b *inbox) add(p []byte) { b.rest = append(b.rest, p...) }

// next is the next whole message; false: there is none yet.
func (b *inbox) next(msg any) (bool, error) {
	line, rest, found := bytes.Cut(b.rest, []byte{'\n'})
	if !found {
		return false, nil
	}
	b.rest = rest
	return true, json.Unmarshal(line, msg)
}
