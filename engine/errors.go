package engine

import (
	"errors"
	"fmt"
)

// The errors an engine may return for certain. Every one of them but
// [ErrSessionEnded] and [ErrClosed] promises that this call changed nothing.
var (
	ErrHeld         = errors.New("held by somebody else") // a *HeldError says who
	ErrNotFound     = errors.New("not found")
	ErrConflict     = errors.New("changed by somebody else")
	ErrMismatch     = errors.New("used with another kind or limit") // a *MismatchError says which
	ErrInvalid      = errors.New("invalid")
	ErrUnsupported  = errors.New("not supported by this engine")
	ErrSessionEnded = errors.New("session ended")
	ErrClosed       = errors.New("closed")

	// ErrUnusable: the engine refused and changed nothing, and asking again will
	// not help until somebody repairs what it stands on (no permission, a
	// directory that is not writable, a corrupt or full store, a newer layout).
	// The message says what would be right. What heals by itself (a failover) is
	// not it: that is left unknown.
	ErrUnusable = errors.New("engine unusable")
)

// Definite reports whether err says for certain what the outcome was. Any other
// error leaves it open whether the request was, or will yet be, carried out.
func Definite(err error) bool {
	for _, d := range []error{ErrHeld, ErrNotFound, ErrConflict, ErrMismatch, ErrInvalid, ErrUnsupported, ErrSessionEnded, ErrClosed, ErrUnusable} {
		if errors.Is(err, d) {
			return true
		}
	}
	return false
}

// HeldError is what a failed Try returns; it wraps [ErrHeld].
type HeldError struct{ Line Line }

func (e *HeldError) Error() string { return ErrHeld.Error() }
func (e *HeldError) Unwrap() error { return ErrHeld }

// MismatchError says that a name is used in two ways; it wraps [ErrMismatch].
// The zero Kind stands for a use that is no claim (a map's entry, a foreign
// key); Detail then says what is in the way.
type MismatchError struct {
	Name      string
	Kind      Kind // how the name is used now
	Limit     int
	WantKind  Kind // how the caller would use it
	WantLimit int
	Detail    string
}

func (e *MismatchError) Error() string {
	if e.Detail != "" {
		return fmt.Sprintf("%q: %s", e.Name, e.Detail)
	}
	return fmt.Sprintf("%q is in use as a %s, and was asked for as a %s",
		e.Name, describe(e.Kind, e.Limit), describe(e.WantKind, e.WantLimit))
}

func (e *MismatchError) Unwrap() error { return ErrMismatch }

func describe(k Kind, limit int) string {
	if k == Semaphore {
		return fmt.Sprintf("%s of limit %d", k, limit)
	}
	return k.String()
}
