package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep"
)

// held is what the command holds: one lease or several.
type held struct {
	leases []*lockstep.Lease
	ctx    context.Context // ends when the first of them does
}

// takeFunc asks for what a job holds, once.
type takeFunc func(ctx context.Context, c *lockstep.Client, try bool, opts []lockstep.LockOption) (*held, error)

// one is a single lease.
func one(l *lockstep.Lease, err error) (*held, error) {
	if err != nil {
		return nil, err
	}
	return &held{[]*lockstep.Lease{l}, l.Context()}, nil
}

func (h *held) until() time.Time {
	until := h.leases[0].Until()
	for _, l := range h.leases[1:] {
		if u := l.Until(); u.Before(until) {
			until = u
		}
	}
	return until
}

func (h *held) tokens() []lockstep.Token {
	var all []lockstep.Token
	for _, l := range h.leases {
		all = append(all, l.Token())
	}
	return all
}

func (h *held) err() error {
	for _, l := range h.leases {
		if err := l.Err(); err != nil {
			return fmt.Errorf("%q: %w", l.Name(), err)
		}
	}
	return nil
}

// releaseWithin bounds how long the engine may take to be told of a release.
const releaseWithin = 5 * time.Second

func (h *held) release(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, releaseWithin)
	defer cancel()
	var errs []error
	for _, l := range h.leases {
		errs = append(errs, l.Release(ctx))
	}
	return errors.Join(errs...)
}

// acquire waits for the job's locks. A signal ends the wait, with its code.
func (a *app) acquire(ctx context.Context, c *lockstep.Client, j *job, signals <-chan os.Signal) (*held, error) {
	ctx, leave := context.WithCancel(ctx)
	defer leave()
	w := a.waiter()
	defer w.end()
	type answer struct {
		h   *held
		err error
	}
	answers := make(chan answer, 1)
	go func() { // it ends with ctx, and is waited for below
		h, err := a.acquireInLine(ctx, c, j, w)
		answers <- answer{h, err}
	}()
	select {
	case got := <-answers:
		w.end()
		if got.err != nil {
			return nil, a.notAcquired(j, got.err)
		}
		a.note("holding %s, token %s, after %v", quoted(j.names), joined(got.h.tokens(), ", "), w.waited())
		return got.h, nil
	case s := <-signals:
		leave()
		if got := <-answers; got.h != nil { // granted in the same moment
			_ = got.h.release(context.WithoutCancel(ctx)) // Close gives back what this could not
		}
		return nil, interrupted(s)
	}
}

// acquireInLine waits within --timeout, which goes on where it enters the line again.
func (a *app) acquireInLine(ctx context.Context, c *lockstep.Client, j *job, w *waiter) (h *held, err error) {
	deadline := time.Now().Add(j.wait.d)
	err = a.inLine(ctx, c, j.names[0], func() (err error) {
		opts := []lockstep.LockOption{lockstep.WithNote([]byte(j.note))}
		if w.shows() {
			opts = append(opts, lockstep.WithProgress(w.progress))
		}
		try := j.try
		if j.wait.given && !try {
			left := time.Until(deadline)
			opts = append(opts, lockstep.WithWait(max(left, time.Nanosecond)))
			try = left <= 0
		}
		h, err = j.take(ctx, c, try, opts)
		return err
	})
	return h, err
}

// notAcquired says who is in the way; a lock that is held has a code of the user's
// choice.
func (a *app) notAcquired(j *job, err error) error {
	if !errors.Is(err, lockstep.ErrHeld) {
		return err
	}
	text := quoted(j.names) + " " + verb(len(j.names)) + " held by somebody else"
	if held, ok := errors.AsType[*lockstep.HeldError](err); ok {
		if who := whoHolds(held.Line); who != "" {
			text = fmt.Sprintf("%q is held by %s", held.Line.Name, who)
		} else if len(held.Line.Waiters) > 0 {
			text = fmt.Sprintf("%q is free, and %d wait for it", held.Line.Name, len(held.Line.Waiters))
		}
	}
	return &exitError{j.conflict, errors.New(text)}
}

func verb(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

// childEnv is the child's environment: ours replace what an outer lock set, and the
// engine's password stays here.
func childEnv(env, names []string, tokens []lockstep.Token, url string) []string {
	var out []string
	for _, kv := range env {
		switch key, _, _ := strings.Cut(kv, "="); key {
		case "LOCKSTEP_NAME", "LOCKSTEP_TOKEN", envTick, envID, envURL, envPassword:
		default:
			out = append(out, kv)
		}
	}
	return append(out, "LOCKSTEP_NAME="+strings.Join(names, "\n"), "LOCKSTEP_TOKEN="+joined(tokens, "\n"), envURL+"="+url)
}

// shownURL is the engine's URL without its password.
func (a *app) shownURL() string {
	raw, err := a.url()
	if err != nil {
		return "" // with has failed by then
	}
	return withoutPassword(raw)
}
