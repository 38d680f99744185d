//go:build unix

package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockstep-go/lockstep"
	"github.com/lockstep-go/lockstep/engine/sqliteengine"
)

// message is what a worker tells the stage, one a line.
type message struct {
	Event string         `json:"event"`
	Token lockstep.Token `json:"token,omitempty"`
	Text  string         `json:"text,omitempty"`
	At    int64          `json:"at"` // ns of the monotonic clock, which all processes share
}

// The events of a worker.
const (
	holds    = "holds"
	writes   = "writes" // asks the storage
	released = "released"
	lost     = "lost"
)

// The words that a worker waits for.
const (
	wordWrite  = "write" // and what: now write it
	wordStored = "stored"
)

const lockName = "report"

func now() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts) // never fails for this clock
	return ts.Nano()
}

// Worker is a worker's whole life: args are its name, the engine's URL and the TTL.
func Worker(args []string) int {
	if len(args) != 3 {
		fmt.Fprintln(os.Stderr, "lockstep: "+Hidden+" is for lockstep demo's own use")
		return 64
	}
	if err := work(args[0], args[1], args[2]); err != nil {
		fmt.Fprintf(os.Stderr, "lockstep: worker %s: %v\n", args[0], err)
		return 1
	}
	return 0
}

func work(name, url, ttlText string) error {
	ttl, err := time.ParseDuration(ttlText)
	if err != nil {
		return err
	}
	ctx := context.Background()
	c, err := lockstep.Open(ctx, url, sqliteengine.Driver, lockstep.WithTTL(ttl), lockstep.WithLogger(nil))
	if err != nil {
		return err
	}
	defer c.Close()
	lock := c.Mutex(lockName, lockstep.WithNote([]byte("worker "+name)))
	words := bufio.NewScanner(os.Stdin)
	for {
		lease, err := lock.Lock(ctx)
		if errors.Is(err, lockstep.ErrLost) { // frozen while it waited: it waits again
			continue
		}
		if err != nil {
			return err
		}
		more, err := turn(ctx, lease, words)
		if err != nil || !more {
			return err
		}
	}
}

// turn is one time at the lock.
func turn(ctx context.Context, lease *lockstep.Lease, words *bufio.Scanner) (more bool, err error) {
	if err := say(message{Event: holds, Token: lease.Token(), At: now()}); err != nil {
		return false, err
	}
	if held := lease.Err() == nil; !held { // the check that everybody makes; what comes after it may come late
		return true, say(message{Event: lost, At: now()})
	}
	if !words.Scan() { // here the frozen one is frozen
		return false, lease.Release(ctx)
	}
	text, ok := strings.CutPrefix(words.Text(), wordWrite+" ")
	if !ok {
		return false, fmt.Errorf("told to %q", words.Text())
	}
	if err := say(message{Event: writes, Token: lease.Token(), Text: text, At: now()}); err != nil {
		return false, err
	}
	if !words.Scan() {
		return false, lease.Release(ctx)
	}
	at := now()
	switch err := lease.Release(ctx); {
	case errors.Is(err, lockstep.ErrLost):
		return true, say(message{Event: lost, At: now()})
	case err != nil:
		return false, err
	}
	return true, say(message{Event: released, At: at})
}

func say(m message) error { return json.NewEncoder(os.Stdout).Encode(m) }
