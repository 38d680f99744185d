package lockstep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/lockstep-go/lockstep/engine"
)

// Barrier has n arrive before any goes on. Whoever arrives makes a claim, so one
// that crashes while it waits leaves with its session, and another takes its place.
// It may be used again and again: each n that go are a phase of their own.
//
// [Barrier.Wait] is a barrier at one point; [Barrier.Enter] and [Stay.Leave] are one
// before and one after what is done together. A Barrier is a stateless handle.
//
// It costs the engine two requests for each that arrives, and for each that leaves
// together a watch of the line.
type Barrier struct {
	r    record[barrierState]
	line request
	full string // of the line
	n    int
}

// barrierState is the phases that have begun, the newest last. Who is in none yet
// waits. A phase is kept while anybody in the line belongs to it, for who has been
// slow must still find itself there.
type barrierState struct {
	Phases []phase `json:"phases"`
}

type phase struct {
	Number  uint64    `json:"number"`
	Members []ClaimID `json:"members"`
}

// arrival is what a claim says of itself in its note.
type arrival struct {
	Layout int    `json:"layout"`
	N      int    `json:"n"`
	Who    string `json:"who"`
}

// MaxBarrier is the most that a barrier may wait for: each phase names all of them.
const MaxBarrier = 1000

// Barrier is the barrier with this name, at which n arrive. All who use the name at
// one time must give the same n: others get [ErrMismatch]. Bad arguments are an error
// of its first use.
func (c *Client) Barrier(name string, n int) *Barrier {
	b := &Barrier{r: newRecord[barrierState](c, "phases", name, DefaultKeep), n: n}
	b.line = c.newRequest(name, engine.Group, 1, engine.Unlimited, nil)
	b.line.own = "barrier"
	if c == nil || b.r.m.err != nil {
		return b
	}
	b.full, b.r.m.err = c.own(b.line.own, name)
	b.r.line = b.full
	b.line.opts.note, b.line.err = json.Marshal(arrival{Layout: recordLayout, N: n, Who: string(c.opts.note)})
	return b
}

// Wait arrives and waits until n have. If ctx ends before that, it leaves; should
// the n-th arrive at the same moment, the others may go without it, as if it had
// crashed just after.
//
// Errors: the context's; [ErrLost] if the session was lost while waiting;
// [ErrMismatch]; [ErrUnsupported]; [ErrUnavailable]; [ErrInvalid].
func (b *Barrier) Wait(ctx context.Context) error {
	s, err := b.enter(ctx)
	if err != nil {
		return failed("wait at barrier", b.r.m.name, err)
	}
	b.depart(ctx, s.lease)
	return nil
}

// depart gives back a claim that has done its work, or will not: in the background
// where the engine cannot be told, and at worst it ends with its session.
func (b *Barrier) depart(ctx context.Context, l *Lease) {
	if err := l.Release(ctx); err != nil {
		b.r.m.c.opts.log.Debug("lockstep: a barrier's claim is given back in the background", "error", err)
	}
}

// Enter is Wait, and has the caller stay: it leaves with the others of its phase, by
// [Stay.Leave], or by its session's end.
func (b *Barrier) Enter(ctx context.Context) (*Stay, error) {
	s, err := b.enter(ctx)
	return s, failed("enter barrier", b.r.m.name, err)
}

func (b *Barrier) enter(ctx context.Context) (*Stay, error) {
	switch _, err := b.r.m.store(); {
	case err != nil:
		return nil, err
	case b.n < 1 || b.n > MaxBarrier:
		return nil, invalidf("a barrier of %d; it may be 1 to %d", b.n, MaxBarrier)
	}
	lease, err := b.line.acquire(ctx, how{op: "arrive at"})
	if err != nil {
		return nil, unwatched(err)
	}
	p, err := b.begin(ctx, lease)
	if err != nil {
		err = lease.why(ctx, err)
		b.depart(ctx, lease)
		return nil, err
	}
	return &Stay{b: b, lease: lease, phase: p}, nil
}

// begin waits for the phase that the lease belongs to. Whoever arrives looks once
// whether it is the n-th, and then begins the phase: of all who arrive the last in
// line sees all others, so none need follow the line.
func (b *Barrier) begin(ctx context.Context, lease *Lease) (phase, error) {
	ctx, free := lease.Attach(ctx)
	defer free()
	s, err := b.r.update(ctx, "", func(ctx context.Context, s *seen[barrierState]) (bool, error) {
		return b.step(ctx, s, lease.ID())
	})
	if mine, ok := s.state.of(lease.ID()); ok || err != nil {
		return mine, err
	}
	s, err = b.r.wait(ctx, func(s seen[barrierState]) (bool, error) {
		_, ok := s.state.of(lease.ID())
		return ok, nil
	})
	mine, _ := s.state.of(lease.ID())
	return mine, err
}

// step begins a phase where enough have arrived, and as many as have: those before me
// may be dead or stopped, and never look. It reads the line after the record: where
// somebody begins a phase in between, the commit is a conflict.
func (b *Barrier) step(ctx context.Context, s *seen[barrierState], me ClaimID) (bool, error) {
	line, err := b.r.m.c.lineOf(ctx, b.full)
	if err != nil {
		return false, err
	}
	waiting, err := b.waiting(line.Holders, s.state, me)
	if err != nil || len(waiting) < b.n {
		return false, err
	}
	here := map[ClaimID]bool{}
	for _, p := range line.Holders {
		here[p.ID] = true
	}
	last := s.state.last().Number
	s.state.Phases = slices.DeleteFunc(s.state.Phases, func(p phase) bool {
		return p.Number < last && !slices.ContainsFunc(p.Members, func(id ClaimID) bool { return here[id] })
	})
	for members := range slices.Chunk(waiting, b.n) {
		if len(members) == b.n {
			last++
			s.state.Phases = append(s.state.Phases, phase{Number: last, Members: members})
		}
	}
	return true, nil
}

// waiting is who is in no phase yet. Whoever comes to others that wait for another
// number is refused; so those behind me that do are not my business.
func (b *Barrier) waiting(line []Place, s barrierState, me ClaimID) ([]ClaimID, error) {
	gone := map[ClaimID]bool{}
	for _, p := range s.Phases {
		for _, id := range p.Members {
			gone[id] = true
		}
	}
	var all []ClaimID
	behind := false
	for _, p := range line {
		if gone[p.ID] {
			continue
		}
		switch err := b.agrees(p.Note); {
		case err == nil:
			all = append(all, p.ID)
		case !behind:
			return nil, err
		}
		behind = behind || p.ID == me
	}
	return all, nil
}

// agrees refuses to wait beside somebody who waits for another number.
func (b *Barrier) agrees(note []byte) error {
	// The layout first: a newer one may mean something else by the rest.
	var head struct {
		Layout int `json:"layout"`
	}
	var a arrival
	switch err := json.Unmarshal(note, &head); {
	case err == nil && head.Layout > recordLayout:
		return fmt.Errorf("%w: somebody has arrived with layout %d and this program knows %d: it needs a newer Lockstep",
			ErrUnsupported, head.Layout, recordLayout)
	case err != nil, head.Layout < 1, json.Unmarshal(note, &a) != nil:
		return &MismatchError{Name: b.r.m.name, Detail: "somebody is in its line who has not arrived at a barrier"}
	}
	if a.N != b.n {
		return &MismatchError{Name: b.r.m.name, Detail: fmt.Sprintf("somebody waits at the barrier for %d, and this waits for %d", a.N, b.n)}
	}
	return nil
}

// of is the phase that a claim belongs to.
func (s barrierState) of(id ClaimID) (phase, bool) {
	for _, p := range s.Phases {
		if slices.Contains(p.Members, id) {
			return p, true
		}
	}
	return phase{}, false
}

func (s barrierState) last() phase {
	if len(s.Phases) == 0 {
		return phase{}
	}
	return s.Phases[len(s.Phases)-1]
}

// Stay is what one of those has who have entered a [Barrier] and not left yet.
type Stay struct {
	b     *Barrier
	lease *Lease
	phase phase
}

// Context ends when the session does, and with it the stay: others then leave
// without it.
func (s *Stay) Context() context.Context { return s.lease.Context() }

// Phase counts from 1 for a name; all who entered together have the same.
func (s *Stay) Phase() uint64 { return s.phase.Number }

// Leave leaves, and waits until all who entered together have left or crashed. If
// ctx ends before that it has left all the same. A stay whose session was lost
// returns [ErrLost] at once.
func (s *Stay) Leave(ctx context.Context) error {
	return failed("leave barrier", s.b.r.m.name, s.leave(ctx))
}

func (s *Stay) leave(ctx context.Context) error {
	if err := s.lease.Err(); errors.Is(err, ErrLost) {
		return err
	}
	// A claim that is gone when it is given back has left, whatever took it.
	if err := s.lease.Release(ctx); err != nil && !errors.Is(err, ErrLost) {
		return unwatched(err)
	}
	for line, err := range s.b.r.m.c.lines(ctx, s.b.full) {
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(line.Holders, func(p Place) bool { return slices.Contains(s.phase.Members, p.ID) }) {
			return nil
		}
	}
	return ErrClosed
}
