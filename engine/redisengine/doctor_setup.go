package redisengine

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// setup looks at what the server is and how it is configured.
func (x *examination) setup() {
	x.version()
	x.mode()
	x.role()
	x.eviction()
	x.persistence()
	x.replicas()
	x.connections()
	x.stalls()
}

// has is a number of INFO or CONFIG; false: it is not there.
func has(m map[string]string, name string) (int64, bool) {
	n, err := strconv.ParseInt(m[name], 10, 64)
	return n, err == nil
}

// product is who made the server, and its version.
func (x *examination) product() (name, version string) {
	switch {
	case x.info["valkey_version"] != "":
		return "Valkey", x.info["valkey_version"]
	case x.info["dragonfly_version"] != "":
		return "Dragonfly", x.info["dragonfly_version"]
	case x.info["redis_version"] != "":
		return "Redis", x.info["redis_version"]
	case x.hello["server"] == "valkey":
		return "Valkey", x.hello["version"]
	case x.hello["server"] == "redis":
		return "Redis", x.hello["version"]
	}
	return x.hello["server"], x.hello["version"]
}

func (x *examination) version() {
	name, version := x.product()
	said := strings.TrimSpace(name + " " + version)
	switch {
	case version == "":
		x.say(engine.LevelNote, "what this server is could not be learned", "It answers neither INFO nor HELLO.", "")
	case name != "Redis" && name != "Valkey":
		x.say(engine.LevelWarning, said+" is not Redis or Valkey",
			"Locks depend on how scripts, expiry and pub/sub work together, and that was not tried here.", "Use Redis 6.2 or newer, or Valkey.")
	case name == "Redis" && older(version, 6, 2):
		x.say(engine.LevelDanger, said+" is older than 6.2", "Commands that locks and maps are made of came with 6.2.",
			"Upgrade it; 7.0 or newer is what is tested.")
	default:
		x.ok("%s", said)
	}
}

// older compares versions such as 6.0.16; one that is no number is not older.
func older(version string, major, minor int) bool {
	parts := strings.SplitN(version, ".", 3)
	a, err := strconv.Atoi(parts[0])
	if err != nil {
		return false
	}
	b := 0
	if len(parts) > 1 {
		if b, err = strconv.Atoi(parts[1]); err != nil {
			return false
		}
	}
	return a < major || a == major && b < minor
}

func (x *examination) mode() {
	mode := x.info["redis_mode"]
	if mode == "" {
		mode = x.info["server_mode"] // Valkey's own name for it
	}
	if mode == "" {
		mode = x.hello["mode"]
	}
	switch mode {
	case "standalone":
		x.ok("it is one server, no cluster")
	case "cluster":
		x.say(engine.LevelWarning, "it is a node of a Redis Cluster",
			"Names whose slot is at another node are refused here, and a failover may forget what was granted.",
			"Use a server without cluster mode for locks.")
	case "sentinel":
		x.say(engine.LevelDanger, "it is a Sentinel, and keeps no data", "", "Give the address of the master.")
	}
}

func (x *examination) role() {
	role := x.info["role"]
	if role == "" {
		role = x.hello["role"]
	}
	switch role {
	case "master":
		x.ok("it is a master")
	case "slave", "replica":
		x.say(engine.LevelDanger, "it is a replica", "Nothing can be locked here: a replica takes no writes, or loses them.",
			"Give the address of the master.")
	}
}

// eviction: locks have a TTL, so that also the volatile policies remove them.
func (x *examination) eviction() {
	policy, limit := x.info["maxmemory_policy"], x.info["maxmemory"]
	if policy == "" {
		return
	}
	switch {
	case policy == "noeviction":
		x.ok("maxmemory-policy is noeviction")
	case limit == "0":
		x.say(engine.LevelNote, "maxmemory-policy is "+policy+"; without maxmemory nothing is evicted",
			"As soon as somebody sets maxmemory, held locks are removed when memory runs out.", "CONFIG SET maxmemory-policy noeviction")
	default:
		x.say(engine.LevelDanger, "maxmemory-policy is "+policy+": held locks are removed when memory runs out",
			"A lock, its token and its line are keys, most of them with a TTL: allkeys-… and volatile-… remove them alike, "+
				"and another client is let in.",
			"CONFIG SET maxmemory-policy noeviction, or a server for locks that no cache lives on.")
	}
	if n, _ := has(x.info, "evicted_keys"); n > 0 && policy != "noeviction" {
		x.say(engine.LevelDanger, fmt.Sprintf("%d keys were evicted since it started", n), "Locks may have been among them.", "")
	}
	x.memory()
}

func (x *examination) memory() {
	used, ok1 := has(x.info, "used_memory")
	limit, ok2 := has(x.info, "maxmemory")
	if !ok1 || !ok2 || limit == 0 {
		return
	}
	percent := used * 100 / limit
	if percent < 90 {
		x.ok("%d %% of maxmemory is used", percent)
		return
	}
	x.say(engine.LevelWarning, fmt.Sprintf("%d %% of maxmemory is used", percent),
		"Where it is full and nothing is evicted, locks that are held can be renewed and released, and no new one can be taken.",
		"Raise maxmemory, or remove what is not needed.")
}

const byTheClock = " Tokens still rise, as far as the clock moves on."

// persistence: what a crash of the server loses is granted again.
func (x *examination) persistence() {
	aof, known := x.info["aof_enabled"]
	if !known {
		return
	}
	if x.votes {
		x.persistenceOfVotes(aof)
		x.diskErrors()
		return
	}
	fsync, save := x.config["appendfsync"], x.config["save"]
	_, saveKnown := x.config["save"]
	switch {
	case aof == "1" && fsync == "always":
		x.ok("appendonly is on, and appendfsync is always")
	case aof == "1" && fsync == "everysec":
		x.say(engine.LevelWarning, "appendfsync is everysec: a crash of the machine loses the last second or two",
			"A lock that was granted then is granted again while its holder still works, and a map's last writes are gone."+byTheClock,
			"CONFIG SET appendfsync always, where that speed is enough; else let what is locked check tokens.")
	case aof == "1" && fsync == "no":
		x.say(engine.LevelWarning, "appendfsync is no: a crash of the machine loses as much as the system had not written, often 30 s",
			"Locks granted then are granted again while their holders still work."+byTheClock, "CONFIG SET appendfsync always, or everysec.")
	case aof == "1":
		x.say(engine.LevelNote, "appendonly is on; how often it is synced could not be learned",
			"With anything but appendfsync always a crash of the machine loses the last grants."+byTheClock, "")
	case saveKnown && save == "":
		x.say(engine.LevelWarning, "nothing is written to disk: a restart forgets every lock and every map",
			"Whatever was held is granted again while its holder still works."+byTheClock, "CONFIG SET appendonly yes, and appendfsync always.")
	default:
		x.say(engine.LevelWarning, "appendonly is off: a crash goes back to the last snapshot, which may be minutes old",
			"Locks granted since are granted again while their holders still work, and maps lose what was written since."+byTheClock,
			"CONFIG SET appendonly yes, and appendfsync always.")
	}
	x.diskErrors()
}

// persistenceOfVotes: what a restart forgets does no harm, as the node is kept out after
// it; what it keeps is of use to whoever holds.
func (x *examination) persistenceOfVotes(aof string) {
	if aof == "1" && x.config["appendfsync"] == "always" {
		x.ok("appendonly is on, and appendfsync is always: it keeps its votes")
		return
	}
	x.say(engine.LevelNote, "a crash may lose its votes (appendonly "+map[string]string{"1": "yes", "0": "no"}[aof]+
		", appendfsync "+x.config["appendfsync"]+")",
		"That grants nothing twice: it takes no part for the longest TTL after a restart. Should a majority restart at once, "+
			"whatever was held ends, and nothing can be locked meanwhile.",
		"CONFIG SET appendonly yes, and appendfsync always, where that speed is enough.")
}

func (x *examination) diskErrors() {
	if x.info["aof_enabled"] == "1" && x.info["aof_last_write_status"] == "err" {
		x.say(engine.LevelDanger, "its append-only file cannot be written", "It refuses writes: nothing can be locked.",
			"Look at its log and its disk.")
	}
	if x.info["rdb_last_bgsave_status"] == "err" && x.config["stop-writes-on-bgsave-error"] != "no" && x.config["save"] != "" {
		x.say(engine.LevelDanger, "its last snapshot failed", "It refuses writes until one succeeds: nothing can be locked.",
			"Look at its log and its disk.")
	}
}

// replicas: this engine does not wait for them.
func (x *examination) replicas() {
	n, ok := has(x.info, "connected_slaves")
	if !ok || x.info["role"] != "master" {
		return
	}
	if n == 0 {
		x.ok("it has no replicas, so nobody fails over to one that knows less")
		return
	}
	why := "A grant is answered before a replica has it: one that takes over may grant a lock again that somebody holds." + byTheClock
	if least, _ := has(x.config, "min-replicas-to-write"); least > 0 {
		why += fmt.Sprintf(" min-replicas-to-write %d bounds how long a master that was cut off goes on granting.", least)
		x.say(engine.LevelWarning, fmt.Sprintf("it has %s, and replication is asynchronous", count(n, "replica")), why,
			"Let what is locked check tokens.")
		return
	}
	x.say(engine.LevelWarning, fmt.Sprintf("it has %s, and replication is asynchronous", count(n, "replica")), why,
		"Let what is locked check tokens; min-replicas-to-write 1 bounds how long a master that was cut off goes on granting.")
}

func count(n int64, of string) string {
	if n == 1 {
		return "1 " + of
	}
	return fmt.Sprintf("%d %ss", n, of)
}

// connections: what ends them, and how many there may be.
func (x *examination) connections() {
	most, ok1 := has(x.info, "maxclients")
	now, ok2 := has(x.info, "connected_clients")
	refused, _ := has(x.info, "rejected_connections")
	switch {
	case !ok1 || !ok2:
	case now*100 >= most*80:
		x.say(engine.LevelWarning, fmt.Sprintf("%d of %d connections (maxclients) are in use", now, most),
			"A client that has lost its connection gets none, and loses its locks.", "Raise maxclients, or find who opens so many.")
	case refused > 0:
		x.say(engine.LevelNote, fmt.Sprintf("%s refused since it started (maxclients is %d)", count(refused, "connection"), most),
			"A client that has lost its connection and gets none loses its locks.", "Raise maxclients, or find who opens so many.")
	default:
		x.ok("%d of %d connections are in use", now, most)
	}
	if idle, ok := has(x.config, "timeout"); ok && idle > 0 && idle < 60 {
		x.say(engine.LevelNote, fmt.Sprintf("timeout is %d: idle connections are closed after so many seconds", idle),
			"Each is made again at the next call, which takes longer for it. Renewals keep one alive only while something is held.",
			"CONFIG SET timeout 0")
	}
	if keep, ok := has(x.config, "tcp-keepalive"); ok && keep == 0 {
		x.say(engine.LevelNote, "tcp-keepalive is 0: connections of clients that vanished are never closed",
			"A waiter that vanished is passed by only when its TTL has run out.", "CONFIG SET tcp-keepalive 300")
	}
	x.pubsubBuffer()
}

// pubsubBuffer: a subscriber is cut off when it does not read fast enough.
func (x *examination) pubsubBuffer() {
	_, rest, found := strings.Cut(x.config["client-output-buffer-limit"], "pubsub ")
	if !found {
		return
	}
	limits := strings.Fields(rest)
	if len(limits) < 2 {
		return
	}
	const small = 1 << 20
	for _, l := range limits[:2] {
		if n, err := strconv.ParseInt(l, 10, 64); err == nil && n > 0 && n < small {
			x.say(engine.LevelWarning, "client-output-buffer-limit pubsub is "+strings.Join(limits, " ")+
				": a client that reads slowly is soon cut off",
				"Grants are told by pub/sub: one that is cut off waits for its own next look.",
				"CONFIG SET client-output-buffer-limit \"pubsub 32mb 8mb 60\"")
			return
		}
	}
	x.ok("client-output-buffer-limit pubsub is %s", strings.Join(limits, " "))
}

// A server runs one command at a time: while a slow one runs, nobody's renewal is
// answered.
const (
	stall     = 250 * time.Millisecond // a margin of the shortest trust window
	scriptMay = 10 * time.Millisecond  // ours take some tens of µs
)

func (x *examination) stalls() {
	if d := x.slowest.took; d >= stall {
		x.say(engine.LevelWarning, fmt.Sprintf("a command took %v (%s, in the slow log)", d.Round(time.Millisecond), x.slowest.name),
			"Nothing else is answered meanwhile, renewals neither: a stall of more than two thirds of a TTL loses locks.",
			"Keep long scripts and commands over large keys away from this server.")
	}
	if us, ok := has(x.info, "latest_fork_usec"); ok && time.Duration(us)*time.Microsecond >= stall {
		x.say(engine.LevelWarning, fmt.Sprintf("its last fork took %d ms", us/1000),
			"Snapshots and rewrites of the log fork; nothing is answered meanwhile.",
			"Less memory in one server, or transparent huge pages off.")
	}
	if limit, ok := has(x.config, "lua-time-limit"); ok && limit <= 0 {
		x.say(engine.LevelNote, "lua-time-limit is off: a script that never ends is never reported as busy", "", "CONFIG SET lua-time-limit 5000")
	}
	if d, ok := perCall(x.info["cmdstat_evalsha"]); ok {
		if d >= scriptMay {
			x.say(engine.LevelWarning, fmt.Sprintf("scripts take %v on average", d.Round(time.Microsecond)),
				"Ours take some tens of microseconds; others run here, or the machine is slow.", "")
			return
		}
		x.ok("scripts take %v on average", d.Round(time.Microsecond))
	}
}

// perCall reads "calls=…,usec=…,usec_per_call=12.34,…".
func perCall(stat string) (time.Duration, bool) {
	_, rest, found := strings.Cut(stat, "usec_per_call=")
	if !found {
		return 0, false
	}
	digits, _, _ := strings.Cut(rest, ",")
	us, err := strconv.ParseFloat(digits, 64)
	return time.Duration(us * float64(time.Microsecond)), err == nil
}

// slowCommand is one entry of the slow log. Its arguments are others' data and are
// not looked at.
type slowCommand struct {
	name string
	took time.Duration
}

func slowestOf(v any) slowCommand {
	var slowest slowCommand
	entries, _ := v.([]any)
	for _, e := range entries {
		entry, _ := e.([]any)
		if len(entry) < 4 {
			continue
		}
		us, _ := entry[2].(int64)
		took := time.Duration(us) * time.Microsecond
		args, _ := entry[3].([]any)
		if took <= slowest.took || len(args) == 0 {
			continue
		}
		name, _ := args[0].(string)
		slowest = slowCommand{strings.ToUpper(name), took}
	}
	return slowest
}
