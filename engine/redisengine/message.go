package redisengine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// What scripts publish to a client (lua/line.lua, tell):
//
//	g id token now life   the claim is granted, at the server's time now (µs), for life ms
//	h id left             the claim is first in line, and what is in its way ends in left ms (-1: not by itself)
//	l id                  something changed for the claim: look
//	x id                  somebody removed the claim by force

// push is a grant that was published.
type push struct {
	token    engine.Token
	at       int64 // the server's time, µs
	life     time.Duration
	received time.Time
}

// heard takes a message. It never blocks: who waits takes it from a channel.
func (e *Engine) heard(payload string) {
	received := time.Now()
	f := strings.Fields(payload)
	if len(f) < 2 {
		return // the probe of Open, or a newer program's
	}
	id := engine.ClaimID(f[1])
	p, err := push{}, error(nil)
	if f[0] == "g" && len(f) == 5 {
		p, err = parsePush(f[2:], received)
	}
	e.room.tell(id, func(n *news) {
		switch {
		case p.token > 0 && err == nil:
			n.push = p
		case f[0] == "x":
			n.gone = true
		default:
			n.look = true
		}
	})
	if f[0] == "x" {
		e.lost(id)
	}
}

func parsePush(f []string, received time.Time) (push, error) {
	token, err := strconv.ParseUint(f[0], 10, 63)
	if err != nil {
		return push{}, err
	}
	at, err := strconv.ParseInt(f[1], 10, 64)
	if err != nil {
		return push{}, err
	}
	life, err := strconv.ParseInt(f[2], 10, 64)
	return push{engine.Token(token), at, time.Duration(life) * time.Millisecond, received}, err
}

// lost tells sessions that a claim is gone; whose it is not does not mind.
func (e *Engine) lost(id engine.ClaimID) {
	e.mu.Lock()
	sessions := make([]*Session, 0, len(e.sessions))
	for s := range e.sessions {
		sessions = append(sessions, s)
	}
	e.mu.Unlock()
	for _, s := range sessions {
		s.tell(id, fmt.Errorf("claim removed by force: %w", engine.ErrNotFound))
	}
}
