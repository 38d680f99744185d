package redisengine

import (
	"context"
	"errors"
	"regexp"
	"strings"
)

// Transport carries requests to one Redis. What a client library must supply is
// this and nothing else; rueidis.go is the one that comes with the engine, and
// module goredis another.
//
// A Transport never sends a request again that may have been carried out. Its
// errors are a [ServerError] for what the server answered, the context's own,
// and anything else for an unknown outcome.
type Transport interface {
	// Do sends commands in one pipeline and returns their results in order. They
	// are carried out in that order, but others may come in between.
	Do(ctx context.Context, commands ...Command) []Result

	// Subscribe listens to one channel until ctx ends or the connection breaks,
	// and returns why. up is called when the server has confirmed: from then on
	// no message is missed. Neither up nor message may block.
	Subscribe(ctx context.Context, channel string, up func(), message func(payload string)) error

	// Close ends what the transport owns. Calls under way return an error.
	Close() error
}

// Command is one request. The first of Args is its name; Keys says which of them
// are keys, as a number and the position of the first: a cluster's client sends
// it where they live.
type Command struct {
	Args     []string
	FirstKey int // its index in Args; 0: no key
}

// Result is one reply. Value is nil, an int64, a string or a []any of these.
type Result struct {
	Value any
	Err   error
}

// ServerError is an error that the server answered with. It carried out nothing,
// scripts excepted that failed half-way.
type ServerError struct{ Text string }

func (e *ServerError) Error() string { return e.Text }

// code is the first word of a server's error; "": it is none. Redis 6 puts the
// error of a script's command behind one of its own.
func code(err error) string {
	e, ok := errors.AsType[*ServerError](err)
	if !ok {
		return ""
	}
	if inner := scriptError.FindStringSubmatch(e.Text); inner != nil {
		return inner[1]
	}
	word, _, _ := strings.Cut(e.Text, " ")
	return word
}

var scriptError = regexp.MustCompile(`^ERR Error running script .*@user_script: ?\d+: -?([A-Z]+) `)
