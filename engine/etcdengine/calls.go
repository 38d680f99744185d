package etcdengine

import (
	"context"
	"sync"
	"time"
)

// calls are an engine's requests under way. One timer watches over all of them: one
// for each, and a function for the end of what each is for, would be a tenth of what a
// request costs this process.
type calls struct {
	mu     sync.Mutex
	first  *call // the oldest
	last   *call
	timer  *time.Timer
	armed  bool
	closed bool
}

type call struct {
	began      time.Time
	session    *Session // its end is the call's; nil: of none
	cancel     context.CancelCauseFunc
	prev, next *call
}

// request bounds one request by the engine's timeout and its Close.
func (e *Engine) request(ctx context.Context) (context.Context, context.CancelFunc) {
	return e.requestOf(ctx, nil)
}

// requestOf bounds it by the session's end too.
func (e *Engine) requestOf(ctx context.Context, s *Session) (context.Context, context.CancelFunc) {
	if b, ok := ctx.(bounded); ok {
		return b, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	c := &call{began: time.Now(), session: s, cancel: cancel}
	e.begin(c)
	return bounded{ctx}, func() {
		e.calls.end(c)
		cancel(nil)
	}
}

// bounded is the context of one request.
type bounded struct{ context.Context }

func (e *Engine) begin(c *call) {
	q := &e.calls
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || c.session != nil && c.session.ctx.Err() != nil {
		c.cancel(context.Canceled)
		return
	}
	if c.prev = q.last; c.prev == nil {
		q.first = c
	} else {
		c.prev.next = c
	}
	q.last = c
	if !q.armed {
		q.arm(e.timeout, e.late)
	}
}

// arm has the timer look in so long. mu is held.
func (q *calls) arm(in time.Duration, look func()) {
	q.armed = true
	if q.timer == nil {
		q.timer = time.AfterFunc(in, look)
		return
	}
	q.timer.Reset(in)
}

// end takes a call out; a repeat does nothing.
func (q *calls) end(c *call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case c.prev != nil:
		c.prev.next = c.next
	case q.first == c:
		q.first = c.next
	default:
		return
	}
	if c.next != nil {
		c.next.prev = c.prev
	} else {
		q.last = c.prev
	}
	c.prev, c.next = nil, nil
}

// late ends the calls that nobody has answered in time.
func (e *Engine) late() {
	q := &e.calls
	q.mu.Lock()
	defer q.mu.Unlock()
	for c := q.first; c != nil; c = c.next {
		if left := e.timeout - time.Since(c.began); left > 0 {
			q.arm(left, e.late)
			return
		}
		c.cancel(errTimeout(e.timeout))
	}
	q.armed = false
}

// endOf ends the calls of a session that is over; nil: all, and those to come.
func (q *calls) endOf(s *Session) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = q.closed || s == nil
	for c := q.first; c != nil; c = c.next {
		if s == nil || c.session == s {
			c.cancel(context.Canceled)
		}
	}
	if q.closed && q.timer != nil {
		q.timer.Stop()
	}
}
