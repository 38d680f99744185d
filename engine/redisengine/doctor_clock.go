package redisengine

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// The server's clock ends locks (PX) and makes tokens, and no machine's clock is
// compared with it (S10). So its difference to ours is no fault by itself: it
// matters when another server takes over, or this one lost its data, because
// tokens then begin at the new time (S2). A step forward ends locks that are held,
// at once (S1).
const (
	clockWatch = time.Second // between the two looks at the clock
	looksAtOne = 5           // of which the quickest counts
	farOff     = time.Minute
	slowTrip   = 100 * time.Millisecond
	rate       = 100 // S1 wants rates that agree within 1/rate
)

// clockReading is the server's time at some moment between two of ours.
type clockReading struct {
	sent, received time.Time
	server         time.Time
}

func (r clockReading) trip() time.Duration { return r.received.Sub(r.sent) }

// offset is how far the server's clock is ahead of ours, give or take half a trip.
func (r clockReading) offset() time.Duration {
	return r.server.Sub(r.sent.Round(0).Add(r.trip() / 2))
}

// readClock asks for the time a few times and keeps the quickest answer. The
// zero reading: this user may not ask.
func (x *examination) readClock(ctx context.Context) (clockReading, error) {
	var best clockReading
	for i := range looksAtOne {
		sent := time.Now()
		r := x.t.Do(ctx, Command{Args: []string{"TIME"}})[0]
		received := time.Now()
		if err := broken(r.Err); err != nil {
			return clockReading{}, err
		}
		if code(r.Err) != "" {
			return clockReading{}, nil // permissions says so
		}
		server, err := parseTime(r.Value)
		if err != nil {
			return clockReading{}, err
		}
		reading := clockReading{sent, received, server}
		if i == 0 || reading.trip() < best.trip() {
			best = reading
		}
	}
	return best, nil
}

func parseTime(v any) (time.Time, error) {
	parts, _ := v.([]any)
	if len(parts) != 2 {
		return time.Time{}, fmt.Errorf("TIME: %w", errReply)
	}
	var n [2]int64
	for i, p := range parts {
		s, _ := p.(string)
		var err error
		if n[i], err = strconv.ParseInt(s, 10, 64); err != nil {
			return time.Time{}, fmt.Errorf("TIME: %w", errReply)
		}
	}
	return time.Unix(n[0], n[1]*int64(time.Microsecond)), nil
}

// clock looks a second time, and says what it saw.
func (x *examination) clock(ctx context.Context, first clockReading, watch time.Duration) error {
	if first.sent.IsZero() {
		return nil
	}
	if err := pauseUntil(ctx, first.received.Add(watch)); err != nil {
		return err
	}
	second, err := x.readClock(ctx)
	if err != nil || second.sent.IsZero() {
		return err
	}
	x.tripTime(min(first.trip(), second.trip()))
	x.sayClock(first, second)
	return nil
}

func pauseUntil(ctx context.Context, at time.Time) error {
	t := time.NewTimer(time.Until(at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (x *examination) tripTime(d time.Duration) {
	if d < slowTrip {
		x.ok("a round trip takes %v", d.Round(10*time.Microsecond))
		return
	}
	x.say(engine.LevelWarning, fmt.Sprintf("the quickest of %d round trips took %v", 2*looksAtOne, d.Round(time.Millisecond)),
		"Every lock, renewal and release takes at least as long.", "Bring clients and server closer together, or use a longer TTL.")
}

// sayClock compares the time that passed at the server with ours, and its time
// with ours.
func (x *examination) sayClock(first, second clockReading) {
	passedHere := second.sent.Sub(first.sent) + (second.trip()-first.trip())/2
	passedThere := second.server.Sub(first.server)
	step := passedThere - passedHere
	if doubt := (first.trip()+second.trip())/2 + passedHere/rate; step > doubt || step < -doubt {
		x.say(engine.LevelDanger, fmt.Sprintf("its clock moved by %v while %v passed here",
			passedThere.Round(time.Millisecond), passedHere.Round(time.Millisecond)),
			"A step forward ends locks that are held at once, before their holders are told; a step back prolongs those of the dead.",
			"Have the clock slewed (chrony, ntpd) and never stepped, and look at the machine's virtualisation.")
	}
	off := second.offset()
	direction := "ahead of"
	if off < 0 {
		direction = "behind"
	}
	size := off.Abs()
	what := fmt.Sprintf("its clock is %v %s this machine's", size.Round(time.Millisecond), direction)
	if size < time.Millisecond {
		what = "its clock is in step with this machine's"
	}
	switch {
	case size >= retention:
		x.say(engine.LevelDanger, what,
			fmt.Sprintf("Tokens are made from it. Should another server take over whose clock is right, or this one be corrected, "+
				"tokens may fall for as long as it was off; the engine bridges %v, and only where it kept its data.", retention),
			"Set the clock: before there are locks, or while nobody holds one.")
	case size >= farOff:
		x.say(engine.LevelWarning, what,
			"Tokens are made from it. If the server loses its data, or another takes over, and the clock is then right, "+
				"tokens of names that were used within this time may fall.",
			"Have the clocks of all servers follow one time (chrony, ntpd).")
	default:
		x.ok("%s, give or take %v", what, (second.trip() / 2).Round(10*time.Microsecond))
	}
}
