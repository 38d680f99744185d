package redisengine

import (
	"context"
	"embed"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep/engine/redisengine/internal/lua"
)

// Scripts are what this engine is made of: each is one step that happens as a
// whole. They live in lua/, one algorithm a file, and are sent by their SHA; a
// server that does not know it (it restarted, somebody flushed it) says NOSCRIPT
// and has done nothing, so the same step is then sent as a whole.
//
// A line `--@ name` in a script stands for the file lua/name.lua.

//go:embed lua/*.lua
var luaFiles embed.FS

// script is one program with its hash.
type script = lua.Script

// retention is for how long a name's token is remembered after its last grant,
// and how long a commit's id, in ms: T of the token rule (S2).
const retention = time.Hour

func loadScript(name string, keep time.Duration) *script { return lua.Load(luaFiles, name, keep) }

// call is one run of a script. All its keys are in one slot.
type call struct {
	script *script
	keys   []string
	args   []string
}

// command is the call by hash, or whole.
func (c call) command(whole bool) Command {
	head := []string{"EVALSHA", c.script.SHA, strconv.Itoa(len(c.keys))}
	if whole {
		head[0], head[1] = "EVAL", c.script.Source
	}
	args := make([]string, 0, len(head)+len(c.keys)+len(c.args))
	args = append(append(append(args, head...), c.keys...), c.args...)
	return Command{Args: args, FirstKey: len(head)}
}

// run runs one script.
func run(ctx context.Context, t Transport, c call) (any, error) {
	r := one(ctx, t, c.command(false))
	if r.Err != nil && code(r.Err) == "NOSCRIPT" {
		r = one(ctx, t, c.command(true))
	}
	return r.Value, r.Err
}

// one sends one command: without a list of one and another for its result, where
// the transport can.
func one(ctx context.Context, t Transport, c Command) Result {
	if t, ok := t.(*rueidisTransport); ok {
		return t.one(ctx, c)
	}
	return t.Do(ctx, c)[0]
}

// runAll runs scripts in one pipeline, and those that the server did not know in
// another: their order among the others is not kept then.
func runAll(ctx context.Context, t Transport, calls []call) []Result {
	commands := make([]Command, len(calls))
	for i, c := range calls {
		commands[i] = c.command(false)
	}
	results := t.Do(ctx, commands...)
	var unknown []int
	var again []Command
	for i, r := range results {
		if code(r.Err) == "NOSCRIPT" {
			unknown = append(unknown, i)
			again = append(again, calls[i].command(true))
		}
	}
	if len(again) > 0 {
		for j, r := range t.Do(ctx, again...) {
			results[unknown[j]] = r
		}
	}
	return results
}
