package redisengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/lockstep-go/lockstep/engine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
)

// Driver opens redis://user:password@host:port/db and
// redis+unix:///path/of/socket?db=0, with the parameters
//
//	prefix        put in front of every key (WithKeyPrefix)
//	timeout       a server that answers nothing for so long is given up: 4s. A
//	              connection that died without a word is so within twice this, so
//	              it should be below 0.4 of the session's TTL.
//	dial-timeout  the same for connecting: 4s
//	pool          connections that requests share, a power of two up to 64: 1. More
//	              than one is of use where one connection's bandwidth is not enough.
var Driver engine.Driver = redisDriver{}

type redisDriver struct{}

const (
	schemeTCP  = "redis"
	schemeUnix = "redis+unix"
)

func (redisDriver) Schemes() []string { return []string{schemeTCP, schemeUnix} }

// Open connects, and makes one round trip.
func (redisDriver) Open(ctx context.Context, t engine.Target) (engine.Engine, error) {
	o, opts, err := clientOption(t)
	if err != nil {
		return nil, err
	}
	transport := &rueidisTransport{owned: true}
	transport.client, err = connect(ctx, o, func() { transport.connected.Store(false) })
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", strings.Join(o.InitAddress, ","), explain(fromRueidis(err)))
	}
	e, err := FromTransport(ctx, transport, opts...)
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Parameters of the URL.
const (
	paramPrefix      = "prefix"
	paramTimeout     = "timeout"
	paramDialTimeout = "dial-timeout"
	paramPool        = "pool"
	paramDB          = "db"
)

const (
	defaultTimeout = 4 * time.Second
	maxPoolPower   = 6
	// gather is for how long requests are gathered where several callers ask at one
	// time; one alone is sent at once (decision 0015).
	gather = 20 * time.Microsecond
)

// clientOption is what the target says, checked.
func clientOption(t engine.Target) (rueidis.ClientOption, []Option, error) {
	o := rueidis.ClientOption{
		Username: t.User, Password: t.Password, ForceSingleClient: true, DisableRetry: true, DisableCache: true,
		PipelineMultiplex: -1, // one connection
		MaxFlushDelay:     gather,
	}
	known := []string{paramPrefix, paramTimeout, paramDialTimeout, paramPool}
	db := strings.TrimPrefix(t.Path, "/")
	if t.Scheme == schemeUnix {
		known = append(known, paramDB)
		db = t.Params[paramDB]
	}
	if err := t.CheckParams(known...); err != nil {
		return o, nil, err
	}
	err := errors.Join(
		address(&o, t),
		database(&o, t.Scheme, db),
		duration(&o.ConnWriteTimeout, t, paramTimeout),
		duration(&o.Dialer.Timeout, t, paramDialTimeout),
		pool(&o, t),
		keys.CheckPrefix(t.Params[paramPrefix]),
	)
	if err != nil {
		return o, nil, err
	}
	// An idle connection is asked whether it lives. A renewal, every third of the
	// TTL, is such a question as well, and no other is asked then (S8).
	o.Dialer.KeepAlive = o.ConnWriteTimeout
	return o, []Option{WithKeyPrefix(t.Params[paramPrefix]), WithDatabase(o.SelectDB)}, nil
}

func invalid(t engine.Target, format string, args ...any) error {
	return fmt.Errorf("%w: %s: %s", engine.ErrInvalid, t.Scheme, fmt.Sprintf(format, args...))
}

func address(o *rueidis.ClientOption, t engine.Target) error {
	if t.Scheme == schemeUnix {
		if len(t.Hosts) > 0 || !strings.HasPrefix(t.Path, "/") || t.Path == "/" {
			return invalid(t, "wants the socket's whole path, as in redis+unix:///run/redis.sock")
		}
		o.InitAddress = []string{t.Path}
		return nil
	}
	switch {
	case len(t.Hosts) == 0:
		return invalid(t, "wants a host, as in redis://127.0.0.1:6379")
	case len(t.Hosts) > 1:
		return invalid(t, "takes one host; several independent ones are redlock://")
	}
	host, port, err := net.SplitHostPort(t.Hosts[0])
	if err != nil { // it has no port: hosts were checked before
		host, port = strings.Trim(t.Hosts[0], "[]"), "6379"
	}
	o.InitAddress = []string{net.JoinHostPort(host, port)}
	return nil
}

func database(o *rueidis.ClientOption, scheme, db string) error {
	if db == "" {
		return nil
	}
	n, err := strconv.Atoi(db)
	if err != nil || n < 0 {
		return fmt.Errorf("%w: %s: a database is a number, as in redis://host/0", engine.ErrInvalid, scheme)
	}
	o.SelectDB = n
	return nil
}

func duration(to *time.Duration, t engine.Target, param string) error {
	text, given := t.Params[param]
	if *to = defaultTimeout; !given {
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 100*time.Millisecond || d > time.Hour {
		return invalid(t, "%s=%.40s: wants a duration between 100ms and 1h, such as 5s", param, text)
	}
	*to = d
	return nil
}

// pool is a power of two: rueidis counts connections in them.
func pool(o *rueidis.ClientOption, t engine.Target) error {
	text, given := t.Params[paramPool]
	if !given {
		return nil
	}
	for power := range maxPoolPower + 1 {
		if text == strconv.Itoa(1<<power) {
			o.PipelineMultiplex = power
			if power == 0 {
				o.PipelineMultiplex = -1
			}
			return nil
		}
	}
	return invalid(t, "%s=%.40s: wants a power of two from 1 to %d", paramPool, text, 1<<maxPoolPower)
}
