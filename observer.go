package lockstep

import "time"

// Observer is told what happens to a client's locks. Any of its functions may
// be nil. They are called by the goroutine that the thing happens in, with no
// lock held: they may call the client, its Close excepted, and they must be
// quick, for renewal waits for them.
type Observer struct {
	// Waiting: a claim on name is about to be made.
	Waiting func(name string)
	// Granted: it took so long.
	Granted func(l *Lease, waited time.Duration)
	// Renewed: so many claims were proven anew by one request of that length.
	Renewed func(claims int, took time.Duration)
	// Lost: why wraps [ErrLost].
	Lost func(l *Lease, held time.Duration, why error)
	// Released: by Release, by Do or by Close.
	Released func(l *Lease, held time.Duration)
}

func (o *Observer) waiting(name string) {
	if o.Waiting != nil {
		o.Waiting(name)
	}
}

func (o *Observer) granted(l *Lease, waited time.Duration) {
	if o.Granted != nil {
		o.Granted(l, waited)
	}
}

func (o *Observer) renewed(claims int, took time.Duration) {
	if o.Renewed != nil {
		o.Renewed(claims, took)
	}
}

func (o *Observer) lost(l *Lease, held time.Duration, why error) {
	if o.Lost != nil {
		o.Lost(l, held, why)
	}
}

func (o *Observer) released(l *Lease) {
	if o.Released != nil { // only then the clock is read
		o.Released(l, l.s.c.clock.now().Sub(l.since))
	}
}
