package lockstep

import (
	"bytes"
	"context"
	"errors"
	"sync"
)

// A membership outlives its leases: when one is lost, the next is acquired in the
// background. While it is in, it has no goroutine; the end of its lease starts
// one, which the client waits for when it is closed.

// Membership is one member's own side of a [Group]. It is safe for concurrent use.
type Membership struct {
	g    *Group
	full string // the group's name as the engine knows it
	id   string

	ctx    context.Context // ends when it leaves
	cancel context.CancelCauseFunc
	turn   chan struct{} // holds one element while somebody joins, leaves or sets data

	mu    sync.Mutex
	data  []byte
	lease *Lease // the newest; it may have ended
	err   error  // why it is over
}

// ID is what others see it as.
func (m *Membership) ID() string { return m.id }

// Token is that of the present or last time it was in; greater after it joined
// again.
func (m *Membership) Token() Token {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.lease.Token()
}

// Joined says whether it is in now, as far as this program can prove: not while
// its session is lost and it is joining again.
func (m *Membership) Joined() bool {
	m.mu.Lock()
	l := m.lease
	m.mu.Unlock()
	return l.Err() == nil
}

// Err is nil while it is a member or is joining again. Otherwise it is
// [ErrReleased] after Leave, [ErrClosed], or an answer of the engine's to joining
// again that no repetition changes.
func (m *Membership) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case m.err != nil:
		return m.err
	case m.g.r.c.ctx.Err() != nil:
		return ErrClosed
	}
	return nil
}

// Leave ends the membership, which others see at once. Leaving twice is no error.
// With a context that is done it still leaves, in the background, as
// [Lease.Release] does.
func (m *Membership) Leave(ctx context.Context) error {
	m.over(ErrReleased)
	m.turn <- struct{}{} // whoever has it ends with m.ctx
	defer func() { <-m.turn }()
	m.mu.Lock()
	l := m.lease
	m.mu.Unlock()
	if err := l.Release(ctx); !errors.Is(err, ErrLost) {
		return err
	}
	return nil
}

// SetData replaces what others see of it. It returns once the engine has it, so
// while it is joining again it waits, and joins with it. Errors are those of
// [Leadership.Proclaim], but for the loss of a session.
func (m *Membership) SetData(ctx context.Context, data []byte) error {
	return failed("set the data in", m.g.r.name, m.setData(ctx, bytes.Clone(data)))
}

func (m *Membership) setData(ctx context.Context, data []byte) error {
	note, err := memberNote(m.id, data)
	if err != nil {
		return err
	}
	m.mu.Lock()
	m.data = data // also for who joins again meanwhile
	m.mu.Unlock()
	for {
		err := m.say(ctx, note)
		if !errors.Is(err, ErrLost) {
			return err
		}
		sleep(ctx, pause(m.g.r.c.opts.ttl, 1)) // it joins again, with what it has by then
	}
}

// say has the newest lease say it, unless that is lost.
func (m *Membership) say(ctx context.Context, note []byte) error {
	select {
	case m.turn <- struct{}{}:
		defer func() { <-m.turn }()
	case <-ctx.Done():
		return ended(ctx)
	}
	if err := m.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	l := m.lease
	m.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(m.ctx, cancel)()
	err := l.setNote(ctx, note)
	if over := m.Err(); err != nil && over != nil {
		return over
	}
	return err
}

// over ends it for good, once.
func (m *Membership) over(why error) {
	m.mu.Lock()
	if m.err == nil {
		m.err = why
	}
	m.mu.Unlock()
	m.cancel(why)
}

// enter acquires a claim, and waits until no other before it in line has the id.
func (m *Membership) enter(ctx context.Context) (*Lease, error) {
	r := m.g.r
	m.mu.Lock()
	note, err := memberNote(m.id, m.data)
	m.mu.Unlock()
	if err != nil {
		return nil, err
	}
	r.opts.note = note
	waiting := ctx
	if r.opts.wait > 0 {
		var cancel context.CancelFunc
		waiting, cancel = context.WithTimeout(ctx, r.opts.wait)
		defer cancel()
	}
	l, err := r.wait(waiting, m.full, how{op: "join"})
	if err != nil {
		return nil, err
	}
	if err = m.first(waiting, l); err == nil {
		return l, nil
	}
	if errors.Is(err, context.DeadlineExceeded) {
		<-waiting.Done() // the lease's own timer may have been a moment earlier
	}
	if waiting.Err() != nil && ctx.Err() == nil {
		err = r.c.stillHeld(ctx, l.claim)
	}
	gone, cancel := context.WithCancel(ctx)
	cancel()
	_ = l.Release(gone) // in the background
	return nil, err
}

// first waits until the lease's claim is the first in line with the id.
func (m *Membership) first(ctx context.Context, l *Lease) error {
	inner, free := l.Attach(ctx)
	defer free()
	for line, err := range m.g.r.c.lines(inner, m.full) {
		switch over := l.Err(); {
		case over != nil:
			return over
		case err != nil:
			return err
		case m.isFirst(line, l.ID()):
			return nil
		}
	}
	return ErrClosed
}

func (m *Membership) isFirst(line Line, mine ClaimID) bool {
	for _, p := range line.Holders {
		if p.ID == mine {
			return true
		}
		if id, _, err := parseMember(p.Note); err == nil && !p.Foreign && id == m.id {
			return false
		}
	}
	return false // not there yet, as far as this line knows
}

// adopt makes the lease the membership's, whose end has it join again. It says no
// where the client is closed.
func (m *Membership) adopt(l *Lease) bool {
	m.mu.Lock()
	m.lease = l
	m.mu.Unlock()
	return m.g.r.c.afterLease(l, m.again)
}

// again joins again after a loss.
func (m *Membership) again() {
	m.turn <- struct{}{}
	defer func() { <-m.turn }()
	c := m.g.r.c
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	defer context.AfterFunc(c.ctx, cancel)()
	for failures := 1; ctx.Err() == nil; failures++ {
		l, err := m.enter(ctx)
		switch {
		case err == nil:
			m.adopt(l)
			return
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrUnavailable), errors.Is(err, ErrLost), errors.Is(err, ErrHeld):
			c.opts.log.Warn("lockstep: joining a group again failed; it is tried again", "name", m.g.r.name, "id", m.id, "error", err)
		default:
			c.opts.log.Warn("lockstep: a group cannot be joined again", "name", m.g.r.name, "id", m.id, "error", err)
			m.over(failed("join again", m.g.r.name, err))
			return
		}
		sleep(ctx, pause(c.opts.ttl, failures))
	}
}

// afterLease runs f as one of the client's goroutines when the lease has ended.
func (c *Client) afterLease(l *Lease, f func()) bool {
	base := l.base()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.tasks.Add(1)
	context.AfterFunc(base, func() {
		defer c.tasks.Done()
		f()
	})
	return true
}
