package lockstep

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// Bounds of a session's TTL.
const (
	DefaultTTL = 10 * time.Second
	MinTTL     = time.Second
	MaxTTL     = 24 * time.Hour
)

// Option is what belongs to a client; it goes to [Open] and [New].
type Option func(*clientOptions)

type clientOptions struct {
	ttl      time.Duration
	log      *slog.Logger
	prefix   string
	observer Observer
	note     []byte
}

// WithTTL sets how long the engine remembers a client that no longer renews,
// from [MinTTL] to [MaxTTL]; [DefaultTTL] where it is not given. A third of it
// passes between two renewals.
func WithTTL(d time.Duration) Option { return func(o *clientOptions) { o.ttl = d } }

// WithLogger sets where losses and failing renewals are told; slog.Default
// where it is not given.
func WithLogger(l *slog.Logger) Option { return func(o *clientOptions) { o.log = l } }

// WithPrefix puts prefix before every name of a lock or map of this client.
func WithPrefix(prefix string) Option { return func(o *clientOptions) { o.prefix = prefix } }

// WithObserver has o called as things happen.
func WithObserver(obs Observer) Option { return func(o *clientOptions) { o.observer = obs } }

func newClientOptions(opts []Option) (clientOptions, error) {
	o := clientOptions{ttl: DefaultTTL, log: slog.Default(), note: defaultNote()}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.ttl < MinTTL || o.ttl > MaxTTL {
		return o, invalidf("TTL of %v; it may be %v to %v", o.ttl, MinTTL, MaxTTL)
	}
	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	if isOwn(o.prefix) {
		return o, invalidf("prefix %.40q begins with a dot; such names are Lockstep's own", o.prefix)
	}
	if len(o.prefix) >= MaxName {
		return o, invalidf("prefix of %d bytes; prefix and name together may have %d", len(o.prefix), MaxName)
	}
	return o, checkText("prefix", o.prefix)
}

// defaultNote is what others see of a holder that gave no note of its own.
func defaultNote() []byte {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	return fmt.Appendf(nil, "%s pid %d %s", host, os.Getpid(), filepath.Base(os.Args[0]))
}

// LockOption is what belongs to one lock; it goes to the lock's constructor.
type LockOption func(*lockOptions)

type lockOptions struct {
	note     []byte
	wait     time.Duration
	maxHold  time.Duration
	progress func(Progress)
}

// WithNote sets what others see of this holder or waiter, up to [MaxNote]
// bytes: the host, process id and program where it is not given.
func WithNote(note []byte) LockOption { return func(o *lockOptions) { o.note = note } }

// WithWait bounds how long a Lock waits. When it has passed, Lock returns
// [ErrHeld], or [ErrUnavailable] if the engine does not answer. A deadline on
// Lock's context would bound the function of Do as well.
func WithWait(d time.Duration) LockOption { return func(o *lockOptions) { o.wait = d } }

// WithMaxHold ends a lease d after its grant, as lost, whether or not its
// holder has come to an end: against a stuck holder that would keep the name
// for ever.
func WithMaxHold(d time.Duration) LockOption { return func(o *lockOptions) { o.maxHold = d } }

// WithProgress has f told of the line while a Lock waits: once it waits
// and after every change. It costs a watch of the line for as long as it waits.
// f is called by one goroutine at a time and never after Lock has returned.
func WithProgress(f func(Progress)) LockOption { return func(o *lockOptions) { o.progress = f } }

// Progress is where a waiting claim stands.
type Progress struct {
	Name   string
	Line   Line
	Place  int           // among the waiters; 1 is next
	Waited time.Duration // so far
}

func newLockOptions(opts []LockOption, note []byte) (lockOptions, error) {
	o := lockOptions{note: note}
	for _, opt := range opts {
		if opt != nil {
			opt(&o)
		}
	}
	if o.wait < 0 {
		return o, invalidf("wait of %v; it may not be negative (0: as long as the context)", o.wait)
	}
	if o.maxHold < 0 {
		return o, invalidf("longest hold of %v; it may not be negative (0: unlimited)", o.maxHold)
	}
	return o, checkNote(o.note)
}

// The seam's types, as users meet them.
type (
	// Token is greater for every later grant on one name. Tokens of different
	// engines are not comparable.
	Token    = engine.Token
	ClaimID  = engine.ClaimID  // of one claim, unique for ever
	Line     = engine.Line     // who holds a name and who waits
	Place    = engine.Place    // one claim in a line
	Revision = engine.Revision // of a map; rises with every commit
	Entry    = engine.Entry    // one key of a map
	Cond     = engine.Cond     // what a commit depends on
	Tx       = engine.Tx       // one commit
)
