package lockstep

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockstep-go/lockstep/engine"
)

// Every error of this package wraps one of these, or the caller's own context
// error, with the operation, the name and the engine's own error around it.
// "Held by somebody else" and "could not ask" are never the same error.
var (
	// ErrHeld: somebody else holds the name; a [*HeldError] says who.
	ErrHeld = engine.ErrHeld
	// ErrLost: the lease was taken away, or its trust window closed unproven.
	ErrLost = errors.New("lost")
	// ErrReleased: the lease was given back.
	ErrReleased = errors.New("released")
	// ErrConflict: somebody else changed the entry; nothing was written.
	ErrConflict = engine.ErrConflict
	// ErrNotFound: there is no such entry, or no such claim.
	ErrNotFound = engine.ErrNotFound
	// ErrUnavailable: the engine could not be asked, or is not usable.
	ErrUnavailable = errors.New("engine unavailable")
	// ErrUnsupported: this engine cannot do that, and does nothing weaker.
	ErrUnsupported = engine.ErrUnsupported
	// ErrMismatch: the name is in use as another kind, or with another limit;
	// a [*MismatchError] names both.
	ErrMismatch = engine.ErrMismatch
	// ErrClosed: the client was closed.
	ErrClosed = engine.ErrClosed
	// ErrInvalid: the argument can never work; the message says what would.
	ErrInvalid = engine.ErrInvalid
)

// HeldError is in every [ErrHeld] that knows who is in line.
type HeldError = engine.HeldError

// MismatchError is in every [ErrMismatch].
type MismatchError = engine.MismatchError

// invalidf is an [ErrInvalid] that says what was wrong and what would be right.
func invalidf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// failed names the operation, once, where it is known.
func failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("lockstep: %s %q: %w", op, name, err)
}

// classify turns what a call to the engine returned into this package's errors.
// The caller's context is asked first: an engine's own time-out looks like the
// caller's, and is not.
func classify(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrLost):
		return err
	case errors.Is(err, engine.ErrSessionEnded):
		return fmt.Errorf("%w: %w", ErrLost, err)
	case engine.Definite(err) && !errors.Is(err, engine.ErrUnusable):
		return err
	case ctx.Err() != nil:
		return ended(ctx)
	}
	return &unavailableError{err}
}

// ended is the caller's context error, with its cause where it was given one.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || errors.Is(cause, err) {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

// unavailableError hides an engine's own context errors from errors.Is: only
// the caller's context may look like the caller's context.
type unavailableError struct{ err error }

func (e *unavailableError) Error() string { return ErrUnavailable.Error() + ": " + e.err.Error() }

func (e *unavailableError) Is(target error) bool {
	switch target {
	case ErrUnavailable:
		return true
	case context.Canceled, context.DeadlineExceeded:
		return false
	}
	return errors.Is(e.err, target)
}

func (e *unavailableError) As(target any) bool { return errors.As(e.err, target) }
