package redlock

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
)

// Option changes how an engine works. Where redsync has the like, its name is given.
type Option func(*options)

type options struct {
	log     *slog.Logger
	prefix  string
	names   []string
	maxTTL  time.Duration
	timeout time.Duration
	drift   float64
	tries   int
	delay   func(tries int) time.Duration
	shuffle bool
	young   bool // nodes may vote however short they have run: for tests that have nothing to forget
}

// WithLogger has the engine report what nobody can act on in code, such as a node
// that cannot be used. Default: [slog.Default].
func WithLogger(l *slog.Logger) Option { return func(o *options) { o.log = l } }

// WithKeyPrefix puts this in front of every key, that of a lock's name included.
// It has no braces, and does not contain ":lockstep:".
func WithKeyPrefix(prefix string) Option { return func(o *options) { o.prefix = prefix } }

// WithNodeNames are what errors and logs call the nodes, in their order. Default:
// their numbers. A URL gives the hosts.
func WithNodeNames(names ...string) Option { return func(o *options) { o.names = names } }

// WithMaxTTL makes [MaxTTL] shorter: no session and no term lives longer, and a node
// that restarted is kept out for so long. Every client of the same nodes must say the
// same, and it must not be shortened while anybody holds by a longer one.
func WithMaxTTL(d time.Duration) Option { return func(o *options) { o.maxTTL = d } }

// WithNodeTimeout is how long a node may take to answer (redsync: WithTimeoutFactor).
// Nobody waits for it longer than a majority needs. Default: a quarter of the TTL, between
// half a second and 4 s.
func WithNodeTimeout(d time.Duration) Option { return func(o *options) { o.timeout = d } }

// WithDriftFactor is by which part of a TTL clocks may run apart within it (redsync:
// WithDriftFactor). Less than a hundredth, the default, is not possible: the core
// reckons with that everywhere.
func WithDriftFactor(f float64) Option { return func(o *options) { o.drift = f } }

// WithTries is how many attempts a Lock makes before it gives up with
// [engine.ErrHeld] (redsync: WithTries), one for each time that the name may be free. 0, the
// default: until its context ends. A time limit is the context's, or lockstep.WithWait.
func WithTries(n int) Option { return func(o *options) { o.tries = n } }

// WithDelay is how long to wait after votes were split (redsync:
// WithRetryDelayFunc); tries counts from 1. It should be random, or those who met
// meet again. Default: up to 5 ms, doubled each time, to a quarter of a second.
func WithDelay(f func(tries int) time.Duration) Option { return func(o *options) { o.delay = f } }

// WithShuffledOrder has the nodes asked in another order each time (redsync:
// WithShufflePools).
func WithShuffledOrder() Option { return func(o *options) { o.shuffle = true } }

func chosen(opts []Option) (options, error) {
	o := options{log: slog.Default(), maxTTL: MaxTTL, drift: 0.01, delay: afterSplit}
	for _, opt := range opts {
		opt(&o)
	}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	invalid := func(format string, args ...any) (options, error) {
		return o, fmt.Errorf("%w: redlock: %s", engine.ErrInvalid, fmt.Sprintf(format, args...))
	}
	switch {
	case o.maxTTL < time.Second || o.maxTTL > MaxTTL:
		return invalid("a longest TTL of %v; it may be 1s to %v", o.maxTTL, MaxTTL)
	case o.drift < 0.01 || o.drift > 0.5:
		return invalid("a drift factor of %v; it may be 0.01 to 0.5", o.drift)
	case o.tries < 0:
		return invalid("%d tries; 0 is as many as it takes", o.tries)
	case o.timeout < 0:
		return invalid("a node timeout of %v", o.timeout)
	case o.delay == nil:
		return invalid("no delay function")
	}
	return o, keys.CheckPrefix(o.prefix)
}

// mustHaveRun is for how many seconds a node must have run before it votes. A server
// counts whole ones, and begins with a part of one.
func (o *options) mustHaveRun() int64 {
	if o.young {
		return 0
	}
	return int64((o.maxTTL+time.Second-1)/time.Second) + 2
}

// afterSplit is random, so that who met does not meet again.
func afterSplit(tries int) time.Duration {
	longest := min(5*time.Millisecond<<min(tries-1, 6), 250*time.Millisecond)
	return longest/10 + rand.N(longest)
}
