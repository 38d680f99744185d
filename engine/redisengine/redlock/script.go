package redlock

import (
	"embed"
	"strconv"
	"time"

	"github.com/lockstep-go/lockstep/engine/redisengine"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/keys"
	"github.com/lockstep-go/lockstep/engine/redisengine/internal/lua"
)

//go:embed lua/*.lua
var luaFiles embed.FS

// retention is for how long a node remembers its count of a name after its last
// vote: T of the token rule (S2).
const retention = time.Hour

// scripts are all that nodes run but the guard.
type scripts struct {
	acquire, write, withdraw, release, renew, rejoin, beat, note, look *lua.Script
}

var (
	theScripts = scripts{
		acquire: load("acquire"), write: load("write"), withdraw: load("withdraw"), release: load("release"),
		renew: load("renew"), rejoin: load("rejoin"), beat: load("beat"), note: load("note"), look: load("look"),
	}
	guard = load("guard")
)

func load(name string) *lua.Script { return lua.Load(luaFiles, name, retention) }

func (s *scripts) all() []*lua.Script {
	return []*lua.Script{s.acquire, s.write, s.withdraw, s.release, s.renew, s.rejoin, s.beat, s.note, s.look}
}

// call is one run of a script at one node.
type call struct {
	script *lua.Script
	keys   []string
	args   []string
}

// command is the call by its hash, and never whole: a node that does not know the
// script has restarted, and must not vote (node.go).
func (c call) command() redisengine.Command {
	args := make([]string, 0, 3+len(c.keys)+len(c.args))
	args = append(args, "EVALSHA", c.script.SHA, strconv.Itoa(len(c.keys)))
	args = append(append(args, c.keys...), c.args...)
	return redisengine.Command{Args: args, FirstKey: 3}
}

// The suffixes of a name's sibling keys (lua/node.lua).
const (
	countKey  = "redlock:count"
	claimsKey = "redlock:claims"
	waitKey   = "redlock:wait"
	liveKey   = "redlock:live"
)

// nameKeys are the keys of a name, in the order that scripts expect.
func nameKeys(name string) []string {
	r := keys.Root(name)
	return []string{name, r + countKey, r + claimsKey, r + waitKey, r + liveKey}
}

// Channels of a node.
const (
	clientChannel = "lockstep:redlock:client:"
	lineChannel   = "lockstep:redlock:line:"
)

// marker follows the id in a value of ours.
const marker = ":redlock1:"

// reply reads what a script answered.
type reply struct{ v any }

func (r reply) at(i int) any {
	if all, ok := r.v.([]any); ok && i < len(all) {
		return all[i]
	}
	return nil
}

func (r reply) text(i int) string { s, _ := r.at(i).(string); return s }
func (r reply) int(i int) int64   { n, _ := r.at(i).(int64); return n }

func (r reply) len() int {
	all, _ := r.v.([]any)
	return len(all)
}

func parseInt(s string) int64 { n, _ := strconv.ParseInt(s, 10, 64); return n }

func inMillis(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

func millis(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
