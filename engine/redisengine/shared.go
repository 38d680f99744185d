package redisengine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/lockstep-go/lockstep/engine"
)

// What package redlock, and whoever else speaks to single servers, needs of this
// one: a transport, what errors mean, and an examination.

// NewTransport carries requests over a client that the caller has, and closes
// after the transport. It must speak to one server.
func NewTransport(c rueidis.Client) Transport { return &rueidisTransport{client: c} }

// OpenTransport connects to the one server that a target names, as [Driver] does,
// with its parameters but prefix. Where the server cannot be reached now, it
// returns the transport as well as the error: the next request connects. A nil
// transport: the target is wrong ([engine.ErrInvalid]).
func OpenTransport(ctx context.Context, t engine.Target) (Transport, error) {
	o, _, err := clientOption(t)
	if err != nil {
		return nil, err
	}
	transport := &rueidisTransport{owned: true}
	transport.client, err = connect(ctx, o, func() { transport.connected.Store(false) })
	if err != nil {
		err = fmt.Errorf("connect to %s: %w", strings.Join(o.InitAddress, ","), explain(fromRueidis(err)))
	}
	if transport.client == nil {
		return nil, err
	}
	return transport, err
}

// Code is the first word of a server's error, such as NOSCRIPT; "": err is none.
func Code(err error) string { return code(err) }

// Explain makes [engine.ErrUnusable] of what a server answered and somebody must
// repair. What heals by itself, and what is no server's answer, stays as it is.
func Explain(err error) error { return explain(err) }

// ExamineNode examines one of several masters that vote, as [Engine.Examine] does one
// that decides alone: a vote that it forgets is no lock that it grants again. watch
// is for how long its clock is watched.
func ExamineNode(ctx context.Context, t Transport, prefix string, watch time.Duration) ([]engine.Finding, error) {
	x := &examination{t: t, prefix: prefix, votes: true}
	findings, err := x.run(ctx, watch)
	return findings, explain(err)
}
