package lockstep

import (
	"context"
	"iter"
)

// Observe yields who leads, and then every change of it that it sees: of the
// leader, of its value, and that nobody leads. It begins with the present leader,
// or vacancy. No older term follows a newer one; terms that were over before they
// could be shown may be left out, and the last always arrives.
//
// It waits for an engine that cannot be reached, and goes on after an
// interruption, without an error. It ends after its first error: that of ctx,
// [ErrClosed], or an answer of the engine's that no repetition changes
// ([ErrInvalid], [ErrMismatch], [ErrUnsupported], or [ErrUnavailable] where the
// engine is not usable). A loop may be left at any time.
func (e *Election) Observe(ctx context.Context) iter.Seq2[Leader, error] {
	return func(yield func(Leader, error) bool) {
		full, err := e.r.canonical()
		if err != nil {
			yield(Leader{}, failed("observe", e.r.name, err))
			return
		}
		var terms terms
		for line, err := range e.r.c.lines(ctx, full) {
			var l Leader
			if err == nil {
				l, err = e.leaderOf(line)
			}
			if err != nil {
				yield(Leader{}, failed("observe", e.r.name, err))
				return
			}
			if terms.news(l) && !yield(l, nil) {
				return
			}
		}
	}
}

// terms is what one observer has been shown. After an interruption an engine may
// answer from a copy that is behind (a replica that has just taken over): a term
// older than one that was shown is over, whatever it says.
type terms struct {
	begun  bool
	last   Leader
	newest Token
}

func (t *terms) news(l Leader) bool {
	if t.begun && l == t.last || l.Token != 0 && l.Token < t.newest {
		return false
	}
	t.begun, t.last, t.newest = true, l, max(t.newest, l.Token)
	return true
}
