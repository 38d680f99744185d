package redisengine

import (
	"fmt"
	"strings"

	"github.com/lockstep-go/lockstep/engine"
)

// explain turns a server's error into what the caller can act on: what somebody
// must repair is ErrUnusable, and the sentence says what would be right. What
// heals by itself (LOADING, READONLY in a failover, BUSY) stays an unknown
// outcome, and is asked again.
func explain(err error) error {
	if code(err) == "" {
		return err
	}
	what, ok := repairs[code(err)]
	switch text := err.Error(); {
	case ok:
	case strings.Contains(text, "unknown command"):
		what = "this server has not all commands that are needed: Redis 6.2 or newer has them"
	case strings.Contains(text, "user executing the script"): // Redis 7.0 gives it no code of its own
		what = repairs["NOPERM"]
	default:
		return err
	}
	return fmt.Errorf("%w: %s (%w)", engine.ErrUnusable, what, err)
}

var repairs = map[string]string{
	"NOAUTH":     "the server wants a password",
	"WRONGPASS":  "the server does not take this user or password",
	"NOPERM":     "this user may not do what is needed; the engine's page lists the permissions",
	"NOPROTO":    "the server does not speak RESP2 or RESP3 as asked",
	"OOM":        "the server's memory is full (maxmemory): free some, or raise it",
	"MISCONF":    "the server refuses writes because it cannot save its data: look at its log",
	"LAYOUT":     "a newer Lockstep uses this name: upgrade this program",
	"WRONGTYPE":  "a key of Lockstep's holds another type of value: another program uses it",
	"NOREPLICAS": "the server refuses writes for want of replicas (min-replicas-to-write)",
}
