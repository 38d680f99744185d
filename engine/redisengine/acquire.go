package redisengine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Acquire is one round trip where the name is free. Otherwise the claim is in
// line after it (a client's first wait: after another, see bell), and the script that
// makes room for it publishes its grant: no other round trip is needed, if nothing
// speaks against believing it (seen.trust).
// In any doubt the same script is asked again, which finds the claim where it is:
// it looks for its id whether or not the caller is in doubt. One that is gone enters
// anew, for the server may have lost its data; one that somebody removed does not.
func (s *Session) Acquire(ctx context.Context, c *engine.Claim, _ bool) (engine.Grant, error) {
	if err := checkClaim(c); err != nil {
		return engine.Grant{}, err
	}
	if err := s.check(); err != nil {
		return engine.Grant{}, err
	}
	w := s.e.room.enter(c.ID)
	defer s.e.room.leave(c.ID, w)
	entered := false
	for {
		g, waits, err := s.ask(ctx, c, w, entered)
		if err == nil && waits {
			entered = true
			g, err = s.await(ctx, c, w)
		}
		switch {
		case errors.Is(err, engine.ErrNotFound):
			s.waiting(c.ID, false)
			return engine.Grant{}, err
		case err != nil:
			return engine.Grant{}, err
		case g.Token > 0:
			return s.report(c.ID, g)
		}
	}
}

// An id fits between the separators of our records, and is too long to be what a
// foreign token begins with.
const shortestID, longestID = 22, 64

func checkClaim(c *engine.Claim) error {
	if err := c.Check(); err != nil {
		return err
	}
	fits := len(c.ID) >= shortestID && len(c.ID) <= longestID
	for i := 0; fits && i < len(c.ID); i++ {
		b := c.ID[i]
		fits = b >= '0' && b <= '9' || b >= 'A' && b <= 'Z' || b >= 'a' && b <= 'z'
	}
	if !fits {
		return fmt.Errorf("%w: claim id %q: %d to %d letters and digits", engine.ErrInvalid, c.ID, shortestID, longestID)
	}
	return nil
}

// report passes a grant on if the session still lives (S5). That the claim does
// was seen by the script that granted it, for as long as g.Until.
func (s *Session) report(id engine.ClaimID, g engine.Grant) (engine.Grant, error) {
	s.waiting(id, false)
	if err := s.check(); err != nil {
		return engine.Grant{}, err
	}
	return g, nil
}

// alone says whether one claim has the name for itself: it is then a key at
// exactly the name.
func alone(k engine.Kind) bool { return k == engine.Mutex || k == engine.Election }

// Kinds at the server are letters.
const kindLetters = "-mrseg"

func letter(k engine.Kind) string { return kindLetters[k : k+1] }

func kindOf(letter string) engine.Kind {
	return engine.Kind(max(strings.Index(kindLetters, letter), 0))
}

// ask runs the script, and says whether the claim waits. entered: it has been in
// line before.
func (s *Session) ask(ctx context.Context, c *engine.Claim, w *waiting, entered bool) (g engine.Grant, waits bool, err error) {
	script := s.e.scripts.acquire
	if !alone(c.Kind) {
		script = s.e.scripts.enter
	}
	life, lasts, term := s.ttl, s.ms, "0"
	if c.Term > 0 {
		life, lasts, term = c.Term, inMillis(c.Term), inMillis(c.Term)
	}
	args := []string{
		string(c.ID) + marker + letter(c.Kind) + ":",
		":0:" + term + ":" + s.e.client + ":" + string(c.Note),
		lasts,
		s.ms + " " + strconv.Itoa(c.Shares) + " " + strconv.Itoa(c.Limit) + " " + flag(c.Try || !s.e.bell.listens()),
	}
	keys := lineKeys(s.e.key(c.Name))
	if entered {
		keys = append(keys, removedKey(keys[0], c.ID))
	}
	sent := time.Now()
	v, err := s.e.run(ctx, script, keys, args...)
	if err != nil {
		return g, false, err
	}
	if token, ok := v.(string); ok {
		return engine.Grant{Token: engine.Token(parseInt(token)), Until: sent.Add(life)}, false, nil
	}
	a := reply{v}
	switch a.text(0) {
	case "g": // what is left was rounded, up to a ms too much
		return engine.Grant{Token: engine.Token(a.int(1)), Until: sent.Add(millis(a.int(2) - 1))}, false, nil
	case "w":
		s.waiting(c.ID, true)
		w.mu.Lock()
		w.see(seen{
			sent: sent, place: int(a.int(1)), left: millis(a.int(2)), at: a.int(3), last: engine.Token(a.int(4)), foreign: a.int(5) == 1,
		})
		w.mu.Unlock()
		return g, true, nil
	case "h":
		if !c.Try {
			return g, false, s.listen(ctx) // and ask again
		}
		return g, false, s.held(ctx, c)
	case "n":
		return g, false, gone(c)
	case "m":
		return g, false, &engine.MismatchError{
			Name: c.Name, Kind: kindOf(a.text(1)), Limit: int(a.int(2)), WantKind: c.Kind, WantLimit: c.Limit, Detail: a.text(3),
		}
	}
	return g, false, fmt.Errorf("redis: an answer that is not understood: %v", v)
}

// listen waits until this client can be told of a grant, or is known not to be.
func (s *Session) listen(ctx context.Context) error {
	select {
	case <-s.e.bell.listen():
		return nil
	case <-s.ended:
		return engine.ErrSessionEnded
	case <-s.e.closed:
		return engine.ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// held says by whom, as far as that can be asked.
func (s *Session) held(ctx context.Context, c *engine.Claim) error {
	line, err := s.e.Line(ctx, c.Name)
	if err != nil {
		line = engine.Line{Name: c.Name}
	}
	return &engine.HeldError{Line: line}
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

func inMillis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

// await waits for news of the claim. No grant and no error: ask again.
func (s *Session) await(ctx context.Context, c *engine.Claim, w *waiting) (engine.Grant, error) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		n := w.take()
		g, ask := s.read(n, c)
		if ask || g.Token > 0 {
			return g, nil
		}
		if n.gone { // or an earlier place of it is: the message may be late
			if err := s.lives(ctx, c); err != nil {
				return engine.Grant{}, err
			}
			continue
		}
		look, looks := n.seen.nextLook()
		if ends := time.Until(n.seen.sent.Add(s.ttl)); !looks || ends < look {
			look, looks = ends, false
		}
		timer.Reset(look)
		select {
		case <-w.woken:
		case <-timer.C:
			if looks {
				return engine.Grant{}, nil
			}
			if err := s.lives(ctx, c); err != nil {
				return engine.Grant{}, err
			}
		case <-s.ended:
			return engine.Grant{}, engine.ErrSessionEnded
		case <-s.e.closed:
			return engine.Grant{}, engine.ErrClosed
		case <-ctx.Done():
			return engine.Grant{}, ctx.Err()
		}
	}
}

// read says whether news are a grant, or worth asking. Until when a term runs is
// known only from the grant itself: a renewal does not tell.
func (s *Session) read(n news, c *engine.Claim) (g engine.Grant, ask bool) {
	switch {
	case n.push.token > 0:
		g, sure := n.seen.trust(n.push)
		return g, !sure
	case n.granted.token > 0 && c.Term == 0:
		return engine.Grant{Token: n.granted.token, Until: n.granted.until}, false
	case n.granted.token > 0:
		return g, true
	}
	return g, n.look
}

// lives asks whether a claim is still in line, of which there is a doubt. It does
// not put it there again: whether it goes on is for the core to say.
func (s *Session) lives(ctx context.Context, c *engine.Claim) error {
	r, err := s.Renew(ctx, []*engine.Claim{c})
	if err == nil && len(r.Lost) > 0 {
		err = gone(c)
	}
	return err
}

func gone(c *engine.Claim) error { return fmt.Errorf("claim on %q: %w", c.Name, engine.ErrNotFound) }

// reply is an array that a script answered with.
type reply struct{ v any }

func (r reply) at(i int) any {
	if all, ok := r.v.([]any); ok && i < len(all) {
		return all[i]
	}
	return nil
}

func (r reply) text(i int) string { s, _ := r.at(i).(string); return s }
func (r reply) int(i int) int64   { n, _ := r.at(i).(int64); return n }
func (r reply) sub(i int) reply   { return reply{r.at(i)} }

func (r reply) len() int {
	all, _ := r.v.([]any)
	return len(all)
}
