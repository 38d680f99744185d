package redisengine

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/lockstep-go/lockstep/engine"
)

// permission is a command that this engine sends, in a form that shows whether a
// user may send it. KEY, ID and CHANNEL stand for what this examination makes up.
type permission struct {
	command string // as ACL SETUSER has it, in capitals
	args    []string
	channel bool // it is one of the channels that is asked for
}

const (
	anyKey     = "KEY"
	anyChannel = "CHANNEL"
)

// needed is every command of ours: what scripts call is checked against the
// permissions of the user who runs the script. A test compares it with lua/ and
// with the user that docs/engines/redis.md describes.
func needed() []permission {
	p := func(command string, args ...string) permission { return permission{command: command, args: args} }
	all := []permission{
		p("EVALSHA", strings.Repeat("0", 40), "0"),
		p("UNSUBSCRIBE", clientChannel+anyChannel),
		p("TIME"),
		p("SCAN", "0", "COUNT", "1"),
		p("TYPE", anyKey),
		p("EXISTS", anyKey),
		p("DEL", anyKey),
		p("GET", anyKey),
		p("GETRANGE", anyKey, "0", "0"),
		p("SET", anyKey, "", "XX", "KEEPTTL"),
		p("PTTL", anyKey),
		p("PEXPIRE", anyKey, "1000"),
		p("PERSIST", anyKey),
		p("HGET", anyKey, "f"),
		p("HSET", anyKey, "f", "v"),
		p("HDEL", anyKey, "f"),
		p("HGETALL", anyKey),
		p("HSCAN", anyKey, "0"),
		p("HLEN", anyKey),
		p("HSTRLEN", anyKey, "f"),
		p("ZADD", anyKey, "0", "m"),
		p("ZREM", anyKey, "m"),
		p("ZSCORE", anyKey, "m"),
		p("ZRANK", anyKey, "m"),
		p("ZRANGE", anyKey, "0", "0"),
		p("ZREVRANGE", anyKey, "0", "0"),
		p("ZRANGEBYSCORE", anyKey, "0", "0"),
		p("XADD", anyKey, "NOMKSTREAM", "*", "f", "v"),
		p("XLEN", anyKey),
		p("XRANGE", anyKey, "-", "+", "COUNT", "1"),
		p("XTRIM", anyKey, "MAXLEN", "0"),
	}
	for _, c := range []string{clientChannel, lineChannel, mapChannel} {
		all = append(all, permission{"PUBLISH", []string{c + anyChannel, ""}, true}, permission{"SUBSCRIBE", []string{c + anyChannel}, true})
	}
	return all
}

// permissions finds what this user may not do.
func (x *examination) permissions(ctx context.Context) error {
	probe := rand.Text()
	key := x.prefix + "lockstep-doctor-" + probe
	all := needed()
	answers, err := x.mayDo(ctx, all, key, probe)
	if err != nil || answers == nil {
		return err // nil: it is said
	}
	var d denied
	for i, p := range all {
		switch {
		case answers[i] == may:
		case answers[i] == unknown:
			d.missing = append(d.missing, p.command)
		case p.channel:
			d.channels = append(d.channels, p.command+" "+strings.TrimSuffix(p.args[0], anyChannel)+"*")
		default:
			d.commands = append(d.commands, p.command)
			if slices.Contains(p.args, anyKey) {
				d.keyed++
			}
		}
	}
	d.everyKey = d.keyed == keyedOf(all) && len(d.commands) == d.keyed
	x.sayPermissions(d, key)
	return nil
}

// Answers of lua/may.lua.
const (
	may     = 1
	mayNot  = 0
	unknown = -1
)

// denied is what this user may not do.
type denied struct {
	commands, channels, missing []string
	keyed                       int  // of commands: those with a key
	everyKey                    bool // all with a key and no other: it is the key that it may not use
}

func keyedOf(all []permission) int {
	n := 0
	for _, p := range all {
		if slices.Contains(p.args, anyKey) {
			n++
		}
	}
	return n
}

const rules = "docs/engines/redis.md has an ACL SETUSER line with everything that is needed."

func (x *examination) sayPermissions(d denied, key string) {
	if len(d.missing) > 0 {
		x.say(engine.LevelDanger, "the server has no command "+strings.Join(d.missing, ", "), "Locks and maps are made of them.",
			"Use Redis 6.2 or newer, and do not rename commands.")
	}
	switch {
	case d.everyKey:
		x.say(engine.LevelWarning, "this user may not use a key such as "+key,
			"Where its permissions are for names of some beginning only, other names fail; their sibling keys begin with {NAME}:lockstep:.",
			"~* for every name, or both ~NAME… and ~{NAME… of those that it is to use.")
	case len(d.commands) > 0:
		x.say(engine.LevelDanger, "this user may not run "+strings.Join(d.commands, ", "),
			"A script that calls them fails half-way: a lock may then be held by nobody until its TTL ends.", rules)
	}
	if len(d.channels) > 0 {
		x.say(engine.LevelDanger, "this user may not "+strings.Join(d.channels, ", "), "Who waits for a lock is told by these channels.", rules)
	}
	if len(d.missing)+len(d.commands)+len(d.channels) == 0 {
		x.ok("this user may do all that is needed")
	}
}

// mayDo asks for all at once, by a script: what scripts may do is what counts.
// nil: it may not even run one, and this is said.
func (x *examination) mayDo(ctx context.Context, all []permission, key, probe string) ([]int64, error) {
	all = slices.Clone(all)
	args := []string{key, "0"}
	if x.tryAll {
		args[1] = "1"
	}
	for i, p := range all {
		p.args = slices.Clone(p.args)
		for j, a := range p.args {
			if a == anyKey {
				a = key
			}
			p.args[j] = strings.Replace(a, anyChannel, probe, 1)
		}
		all[i] = p
		args = append(append(args, strconv.Itoa(1+len(p.args)), p.command), p.args...)
	}
	r := x.t.Do(ctx, call{mayScript(), nil, args}.command(true))[0]
	if err := broken(r.Err); err != nil {
		return nil, err
	}
	if code(r.Err) != "" {
		x.say(engine.LevelDanger, fmt.Sprintf("this user may not run scripts (EVAL): %v", r.Err), "Every lock and every map is a script.", rules)
		return nil, nil
	}
	list, _ := r.Value.([]any)
	if len(list) != 1+len(all) {
		return nil, fmt.Errorf("permissions: %w", errReply)
	}
	answers := make([]int64, len(all))
	for i, v := range list[1:] {
		answers[i], _ = v.(int64)
	}
	if list[0] == int64(0) {
		return answers, x.outsideScripts(ctx, all, answers)
	}
	return answers, nil
}

// outsideScripts tries what no script may call: lua/may.lua says "may" then. How
// to end a subscription is left to the client library.
func (x *examination) outsideScripts(ctx context.Context, all []permission, answers []int64) error {
	for i, p := range all {
		var err error
		switch p.command {
		case "EVALSHA":
			err = x.t.Do(ctx, Command{Args: append([]string{p.command}, p.args...)})[0].Err
		case "SUBSCRIBE":
			err = x.subscribe(ctx, p.args[0])
		default:
			continue
		}
		if e := broken(err); e != nil {
			return e
		}
		if code(err) == "NOPERM" {
			answers[i] = mayNot
		}
	}
	return nil
}

// subscribe listens for as long as it takes to be let.
func (x *examination) subscribe(ctx context.Context, channel string) error {
	inner, stop := context.WithCancel(ctx)
	defer stop()
	up := false
	err := x.t.Subscribe(inner, channel, func() { up = true; stop() }, func(string) {})
	if up {
		return nil
	}
	return err
}

var mayScript = sync.OnceValue(func() *script { return loadScript("may", retention) })
