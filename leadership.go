package lockstep

import (
	"context"
	"errors"
	"fmt"

	"github.com/lockstep-go/lockstep/engine"
)

// Leadership is the lease of who leads. Release resigns: the next candidate in
// line leads.
type Leadership struct{ *Lease }

// LeadershipFrom is the leadership that ctx was derived from, if its innermost
// lease is an election's, or nil.
func LeadershipFrom(ctx context.Context) *Leadership {
	if l := LeaseFrom(ctx); l != nil && l.claim.Kind == engine.Election {
		return &Leadership{l}
	}
	return nil
}

// Proclaim replaces the leader's value without giving up the lead. It returns
// once the engine has it; observers see it, or a later one. Of two calls at the
// same time either may be the later.
//
// Errors: [ErrLost] and [ErrReleased] where the lead has ended, [ErrInvalid] for
// a value over [MaxNote], [ErrUnavailable] (then it may yet be seen), the
// context's.
func (l *Leadership) Proclaim(ctx context.Context, value string) error {
	note := []byte(value)
	err := checkNote(note)
	if err == nil {
		err = l.setNote(ctx, note)
	}
	return failed("proclaim as leader of", l.Name(), err)
}

// Transfer hands the lead over to the first candidate in line with this value,
// past those before it. Where there is none it is [ErrNotFound], and nothing has
// changed; nor has it on an engine that cannot do it (Client.Info().Pass), which
// is [ErrUnsupported].
//
// The lead ends before the engine is asked (S1), so it is given up also where
// Transfer fails after that: the candidate left at that moment ([ErrNotFound]),
// or the engine did not answer. Then whoever is next leads.
func (l *Leadership) Transfer(ctx context.Context, candidate string) error {
	return failed("transfer the lead of", l.Name(), l.transfer(ctx, candidate))
}

func (l *Leadership) transfer(ctx context.Context, candidate string) error {
	c := l.s.c
	if !c.info.Pass {
		return fmt.Errorf("%w: the %s engine lets in whoever is next", ErrUnsupported, c.info.Engine)
	}
	heir, err := l.heir(ctx, candidate)
	if err != nil {
		return err
	}
	if !l.end(ErrReleased) {
		return l.Err()
	}
	c.opts.observer.released(l.Lease)
	l.s.forget(l.Lease)
	err = c.ask(ctx, func(ctx context.Context) error { return l.s.es.Pass(ctx, &l.claim.Claim, heir) })
	if err != nil || l.claim.doubts > 0 {
		// Nothing of the claim may stay, nor come back with a straggling Acquire.
		l.s.withdraw(l.claim)
	}
	switch {
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%w: candidate %.40q has left the line; the lead was given up", ErrNotFound, candidate)
	case err != nil:
		return fmt.Errorf("%w; the lead was given up, it is not known to whom", err)
	}
	return nil
}

// heir is the candidate's claim.
func (l *Leadership) heir(ctx context.Context, candidate string) (ClaimID, error) {
	if err := l.Err(); err != nil {
		return "", err
	}
	line, err := l.s.c.lineOf(ctx, l.claim.Name)
	if err != nil {
		return "", err
	}
	for _, p := range line.Waiters {
		if !p.Foreign && string(p.Note) == candidate {
			return p.ID, nil
		}
	}
	return "", fmt.Errorf("%w: no candidate %.40q is in line", ErrNotFound, candidate)
}
