package redisengine

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// A watch listens to the map's channel, on which each commit says what it changed
// and which commit it came after. A commit that came after the last one shown is
// shown without asking. Anything else (a message that was lost, or too long for
// the channel; a subscription that broke and came back; a map that lost its data)
// has the watch read the log after the last one shown, and where the log does not
// lead on from there, the whole map.
//
// A message that was lost and has no successor is found by asking, when nothing
// was heard for a while, where the map is: one small request in three seconds.

// Watch yields commits after a revision, or the whole map first.
func (s *store) Watch(ctx context.Context, m string, after engine.Revision) iter.Seq2[engine.Event, error] {
	return func(yield func(engine.Event, error) bool) {
		w := &mapWatch{s: s, m: m, at: position{revision: after, known: after > 0}, yield: yield, inbox: newInbox()}
		if err := w.run(ctx); err != nil {
			yield(engine.Event{}, err)
		}
	}
}

// mapWatch is one watch. Only its inbox is touched by more than its caller.
type mapWatch struct {
	s     *store
	m     string
	at    position // what was shown leads to here; 0: nothing was shown
	yield func(engine.Event, error) bool
	inbox *inbox
	quiet time.Time // when to say that it is still current
}

// errStopped: whoever takes the events takes no more.
var errStopped = errors.New("stopped")

// run watches to the first error; nil: nobody takes the events any more.
func (w *mapWatch) run(outer context.Context) error {
	if w.s.isClosed() {
		return engine.ErrClosed
	}
	ctx, cancel := context.WithCancel(outer)
	defer cancel()
	ended := w.subscribe(ctx)
	w.s.watches.Go(func() {
		select {
		case <-w.s.closed:
			cancel()
		case <-ctx.Done():
		}
	})
	err := w.follow(ctx, ended)
	switch {
	case errors.Is(err, errStopped):
		return nil
	case w.s.isClosed():
		return engine.ErrClosed
	case outer.Err() != nil:
		return outer.Err()
	}
	return err
}

// subscribe has the inbox filled until ctx ends or the subscription does.
func (w *mapWatch) subscribe(ctx context.Context) <-chan error {
	ended := make(chan error, 1)
	w.s.watches.Go(func() {
		ended <- interrupted(w.s.t.Subscribe(ctx, w.s.channel(w.m), w.inbox.missed, w.inbox.put))
	})
	return ended
}

// follow begins to look when the subscription is up, as that rings the inbox.
func (w *mapWatch) follow(ctx context.Context, ended <-chan error) error {
	timer := time.NewTimer(engine.Stale) // set again by the first look
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-ended:
			return w.s.explain(ctx, err)
		case <-w.inbox.rung:
			if err := w.hear(ctx); err != nil {
				return err
			}
		case <-timer.C:
			if err := w.ask(ctx); err != nil {
				return err
			}
		}
		timer.Reset(time.Until(w.quiet))
	}
}

// hear takes what the inbox holds.
func (w *mapWatch) hear(ctx context.Context) error {
	messages, missed := w.inbox.take()
	if missed {
		if err := w.catchUp(ctx); err != nil {
			return err
		}
		if w.quiet.IsZero() { // the first look: there is nothing new
			if err := w.show(engine.Event{Revision: w.at.revision}); err != nil {
				return err
			}
		}
	}
	for _, text := range messages {
		if err := w.told(ctx, text); err != nil {
			return err
		}
	}
	return nil
}

// told takes one message.
func (w *mapWatch) told(ctx context.Context, text string) error {
	c, err := parseMessage(text)
	switch {
	case err != nil: // a newer program's: the record will say so
		return w.catchUp(ctx)
	case c.told && w.at.leadsOn(c):
		return w.commit(c)
	case c.previous > 0 && c.Revision <= w.at.revision:
		return nil // shown before: the log was faster
	}
	return w.catchUp(ctx)
}

// ask says that what was shown is still current, or shows what was missed.
func (w *mapWatch) ask(ctx context.Context) error {
	was := w.quiet
	if err := w.catchUp(ctx); err != nil || w.quiet != was {
		return err
	}
	return w.show(engine.Event{Revision: w.at.revision})
}

// catchUp shows what was committed since, or the whole map.
func (w *mapWatch) catchUp(ctx context.Context) error {
	if w.at.revision > 0 {
		_, ok, err := w.s.since(ctx, w.m, w.at, w.commit)
		if ok || err != nil {
			return err
		}
	}
	ev, at, err := w.s.whole(ctx, w.m)
	if err != nil {
		return err
	}
	w.at = at
	return w.show(ev)
}

func (w *mapWatch) commit(c commit) error {
	w.at = w.at.after(c)
	return w.show(c.Event)
}

// show yields an event. The next one is due well before engine.Stale/3 is over,
// not for all maps at one time.
func (w *mapWatch) show(ev engine.Event) error {
	if !w.yield(ev, nil) {
		return errStopped
	}
	const due = engine.Stale / 3
	w.quiet = time.Now().Add(due*6/10 + rand.N(due*3/10))
	return nil
}
