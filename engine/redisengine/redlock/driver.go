package redlock

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine"
)

// Driver opens redlock://user:password@host1,host2,host3/db with the parameters
//
//	prefix        put in front of every key (WithKeyPrefix)
//	max-ttl       the longest TTL, and for how long a node that restarted is kept out:
//	              5m at most, the default (WithMaxTTL); the same for every client
//	node-timeout  how long a node may take to answer (WithNodeTimeout)
//	dial-timeout  the same for connecting: 4s
//	drift         by which part of a TTL clocks may run apart: 0.01 (WithDriftFactor)
//	tries         attempts of a Lock before it gives up: 0, as many as it takes (WithTries)
//	delay         how long to wait after split votes, at least a half of it and at most
//	              one and a half (WithDelay)
//	shuffle       true: ask the nodes in another order each time (WithShuffledOrder)
//	pool          connections to each node that requests share: 1
//
// User, password and database are the same at every node. Nodes that cannot be reached
// when it is opened are connected to later, if they are less than a majority.
var Driver engine.Driver = redlockDriver{}

type redlockDriver struct{}

const scheme = "redlock"

func (redlockDriver) Schemes() []string { return []string{scheme} }

// Open connects, and makes one round trip to every node.
func (redlockDriver) Open(ctx context.Context, t engine.Target) (engine.Engine, error) {
	opts, err := optionsOf(t)
	if err != nil {
		return nil, err
	}
	ts, err := transports(ctx, t)
	if err != nil {
		return nil, err
	}
	e, err := FromTransports(ctx, ts, opts...)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Parameters of the URL.
const (
	paramPrefix      = "prefix"
	paramMaxTTL      = "max-ttl"
	paramNodeTimeout = "node-timeout"
	paramDialTimeout = "dial-timeout"
	paramDrift       = "drift"
	paramTries       = "tries"
	paramDelay       = "delay"
	paramShuffle     = "shuffle"
	paramPool        = "pool"
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", engine.ErrInvalid, scheme, fmt.Sprintf(format, args...))
}

// optionsOf is what the target says, but for how to connect.
func optionsOf(t engine.Target) ([]Option, error) {
	err := t.CheckParams(paramPrefix, paramMaxTTL, paramNodeTimeout, paramDialTimeout, paramDrift, paramTries, paramDelay,
		paramShuffle, paramPool)
	if err != nil {
		return nil, err
	}
	if len(t.Hosts) == 0 {
		return nil, invalid("wants its nodes, as in redlock://10.0.0.1,10.0.0.2,10.0.0.3")
	}
	for i, h := range t.Hosts {
		if slices.Contains(t.Hosts[:i], h) {
			return nil, invalid("node %s is named twice: each node has one vote", h)
		}
	}
	opts := []Option{WithKeyPrefix(t.Params[paramPrefix]), WithNodeNames(t.Hosts...)}
	return opts, errors.Join(
		span(&opts, t, paramMaxTTL, WithMaxTTL),
		span(&opts, t, paramNodeTimeout, WithNodeTimeout),
		span(&opts, t, paramDelay, func(d time.Duration) Option {
			return WithDelay(func(int) time.Duration { return about(d) })
		}),
		drift(&opts, t), tries(&opts, t), shuffle(&opts, t),
	)
}

func span(opts *[]Option, t engine.Target, param string, option func(time.Duration) Option) error {
	text, given := t.Params[param]
	if !given {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > time.Hour {
		return invalid("%s=%.40s: wants a duration up to 1h, such as 500ms", param, text)
	}
	*opts = append(*opts, option(d))
	return nil
}

func drift(opts *[]Option, t engine.Target) error {
	text, given := t.Params[paramDrift]
	if !given {
		return nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return invalid("%s=%.40s: wants a part of the TTL, such as 0.01", paramDrift, text)
	}
	*opts = append(*opts, WithDriftFactor(f))
	return nil
}

func tries(opts *[]Option, t engine.Target) error {
	text, given := t.Params[paramTries]
	if !given {
		return nil
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		return invalid("%s=%.40s: wants a number", paramTries, text)
	}
	*opts = append(*opts, WithTries(n))
	return nil
}

func shuffle(opts *[]Option, t engine.Target) error {
	switch text := t.Params[paramShuffle]; text {
	case "", "false":
	case "true":
		*opts = append(*opts, WithShuffledOrder())
	default:
		return invalid("%s=%.40s: wants true or false", paramShuffle, text)
	}
	return nil
}

// transports connects to every node, all at once. Only a target that is wrong is an
// error here.
func transports(ctx context.Context, t engine.Target) ([]redisengine.Transport, error) {
	type opened struct {
		node int
		t    redisengine.Transport
		err  error
	}
	opening := make(chan opened, len(t.Hosts))
	for i, host := range t.Hosts {
		go func() {
			transport, err := redisengine.OpenTransport(ctx, nodeTarget(t, host))
			opening <- opened{i, transport, err}
		}()
	}
	ts := make([]redisengine.Transport, len(t.Hosts))
	var wrong error
	for range t.Hosts {
		o := <-opening // OpenTransport obeys ctx
		if ts[o.node] = o.t; o.t == nil {
			wrong = o.err
		}
	}
	if wrong == nil {
		return ts, nil
	}
	for _, t := range ts {
		if t != nil {
			wrong = errors.Join(wrong, t.Close())
		}
	}
	return nil, wrong
}

// nodeTarget is one node as a target of the engine of one Redis.
func nodeTarget(t engine.Target, host string) engine.Target {
	n := engine.Target{
		Scheme: "redis", User: t.User, Password: t.Password, Path: t.Path, Hosts: []string{host}, Params: map[string]string{},
	}
	for _, p := range []string{paramDialTimeout, paramPool} {
		if text, given := t.Params[p]; given {
			n.Params[p] = text
		}
	}
	return n
}

// about is d, give or take a half of it.
func about(d time.Duration) time.Duration { return d/2 + rand.N(d) }
