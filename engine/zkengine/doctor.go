package zkengine

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockstep-go/lockstep/engine"
)

// The doctor asks every server of the URL three of ZooKeeper's four-letter words:
// srvr, which is allowed unless somebody forbids it, conf and isro, which are not
// allowed by default (4lw.commands.whitelist). What may not be asked is a note.

var _ engine.Doctor = (*Engine)(nil)

// Examine looks at what makes this ensemble unsafe for locks, or weaker than it
// could be.
func (e *Engine) Examine(ctx context.Context) ([]engine.Finding, error) {
	if e.isOver() {
		return nil, engine.ErrClosed
	}
	x := &examination{e: e, dial: e.dial}
	if x.dial == nil {
		x.dial = new(net.Dialer).DialContext
	}
	hosts := e.hosts
	if len(hosts) == 0 { // the caller's client knows
		hosts = []string{e.conn.zk.Server()}
	}
	for _, host := range hosts {
		x.servers = append(x.servers, x.look(ctx, host))
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := e.probe(ctx); err != nil {
		return nil, e.orClosed(err)
	}
	x.quorum()
	x.versions()
	x.sessions()
	x.connections()
	x.access()
	slices.SortStableFunc(x.findings, func(a, b engine.Finding) int { return int(b.Level) - int(a.Level) })
	return x.findings, nil
}

type examination struct {
	e        *Engine
	dial     dialFunc
	servers  []seenServer
	findings []engine.Finding
}

// seenServer is what one server said of itself.
type seenServer struct {
	addr string
	err  error             // it did not answer
	srvr map[string]string // "": srvr may not be asked
	conf map[string]string
	ro   string // "rw", "ro"; "": may not be asked
	down bool   // it answers, and serves nobody
}

func (x *examination) say(level engine.Level, what, why, fix string) {
	x.findings = append(x.findings, engine.Finding{Level: level, What: what, Why: why, Fix: fix})
}

func (x *examination) ok(what string) { x.say(engine.LevelOK, what, "", "") }

func (x *examination) look(ctx context.Context, addr string) seenServer {
	s := seenServer{addr: addr}
	text, err := x.word(ctx, addr, "srvr")
	if err != nil {
		s.err = err
		return s
	}
	s.down = strings.Contains(text, "not currently serving")
	s.srvr = facts(text, ": ")
	if text, err = x.word(ctx, addr, "conf"); err == nil {
		s.conf = facts(text, "=")
	}
	if text, err = x.word(ctx, addr, "isro"); err == nil && len(text) == 2 {
		s.ro = text
	}
	return s
}

// patience is how long a server may take for a word.
const patience = 3 * time.Second

func (x *examination) word(ctx context.Context, addr, word string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	c, err := x.dial(ctx, "tcp", addr)
	if err != nil {
		return "", err
	}
	defer c.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := c.SetDeadline(deadline); err != nil {
			return "", err
		}
	}
	if _, err := io.WriteString(c, word); err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(c, 1<<20))
	return string(text), err
}

// facts are the lines that have a name and a value.
func facts(text, separator string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), separator); ok {
			m[name] = value
		}
	}
	return m
}

// quorum looks at who answers, and who leads.
func (x *examination) quorum() {
	modes := make(map[string]int)
	answer := 0
	for _, s := range x.servers {
		switch mode := s.srvr["Mode"]; {
		case s.err != nil:
			x.say(engine.LevelWarning, s.addr+" does not answer: "+s.err.Error(),
				"One failure less can be survived.", "Start it, or take it out of the URL.")
			continue
		case s.down:
			x.say(engine.LevelWarning, s.addr+" answers and serves nobody: it finds no quorum",
				"One failure less can be survived.", "Look at its log: it does not reach the others, or too few run.")
			continue
		case mode == "":
			x.say(engine.LevelNote, s.addr+": what it is could not be learned", "The word srvr is not on its 4lw.commands.whitelist.", "")
		default:
			modes[mode]++
		}
		answer++
	}
	members := x.members()
	switch {
	case modes["standalone"] > 1:
		x.say(engine.LevelDanger, "the URL names several servers that stand alone",
			"Each grants the same lock to somebody else.", "Name the members of one ensemble.")
	case modes["standalone"] == 1:
		x.say(engine.LevelWarning, "it is one server that stands alone",
			"While it is away nobody can lock; with its disk its data is gone, and tokens begin anew.", "Run an ensemble of three or five.")
	case members > 0:
		x.ensemble(members, answer)
	case modes["leader"] == 1:
		x.ok(fmt.Sprintf("an ensemble with a leader; %d of the %d servers of the URL serve", answer, len(x.servers)))
	}
}

// members is how many servers the ensemble votes by; 0: not known.
func (x *examination) members() int {
	n := 0
	for _, s := range x.servers {
		here := 0
		for name, value := range s.conf {
			if strings.HasPrefix(name, "server.") && !strings.Contains(value, ":observer") {
				here++
			}
		}
		n = max(n, here)
	}
	return n
}

func (x *examination) ensemble(members, answer int) {
	what := fmt.Sprintf("an ensemble of %d; %d of the %d servers of the URL serve", members, answer, len(x.servers))
	switch {
	case members%2 == 0:
		x.say(engine.LevelNote, what, fmt.Sprintf("It survives no more failures than one of %d.", members-1), "")
	case members < 3:
		x.say(engine.LevelWarning, what, "It survives no failure.", "Run three or five.")
	case len(x.servers) < members:
		x.say(engine.LevelNote, what, "A client that knows only some members is cut off when these are away.", "Name all of them in the URL.")
	default:
		x.ok(what)
	}
}

// versions looks for containers and the order of watches, which 3.6 has.
func (x *examination) versions() {
	for _, s := range x.servers {
		version, _, _ := strings.Cut(s.srvr["Zookeeper version"], "-")
		parts := strings.SplitN(version, ".", 3)
		if len(parts) < 2 {
			continue
		}
		major, err1 := strconv.Atoi(parts[0])
		minor, err2 := strconv.Atoi(parts[1])
		switch {
		case err1 != nil || err2 != nil:
		case major < 3 || major == 3 && minor < 6:
			x.say(engine.LevelWarning, s.addr+" is ZooKeeper "+version,
				"The engine is made for 3.6 and newer; nobody has tried older ones.", "Upgrade it.")
		default:
			x.ok(s.addr + " is ZooKeeper " + version)
		}
	}
}

// sessions looks at what becomes of a TTL.
func (x *examination) sessions() {
	for _, s := range x.servers {
		if s.err != nil || s.down {
			continue
		}
		tick, ok1 := millis(s.conf["tickTime"])
		least, ok2 := millis(s.conf["minSessionTimeout"])
		most, ok3 := millis(s.conf["maxSessionTimeout"])
		bounds := fmt.Sprintf("%s: sessions live from %v to %v", s.addr, least, most)
		switch {
		case !ok1 || !ok2 || !ok3:
			x.say(engine.LevelNote, s.addr+": the bounds of session timeouts could not be learned",
				"The word conf is not on its 4lw.commands.whitelist. A TTL outside of the bounds is moved to them.", "")
		case least < 2*tick:
			x.say(engine.LevelDanger, bounds+fmt.Sprintf(", and a tick is %v", tick),
				"A session of less than two ticks may end before its holder can know: followers report to the leader every half tick.",
				"minSessionTimeout of at least two ticks, which is its default; until then use a longer TTL.")
		case most < 10*time.Second:
			x.say(engine.LevelWarning, bounds,
				"Lockstep's default TTL of 10s is cut to that: pauses of that length lose locks.", "Raise maxSessionTimeout.")
		case least > 10*time.Second:
			x.say(engine.LevelNote, bounds, "A lock of a process that died is free only after that.", "")
		default:
			x.ok(bounds)
		}
	}
}

func millis(text string) (time.Duration, bool) {
	n, err := strconv.ParseInt(text, 10, 64)
	return time.Duration(n) * time.Millisecond, err == nil
}

// connections looks at how many one host may have, and whether a server only reads.
func (x *examination) connections() {
	for _, s := range x.servers {
		if s.err != nil || s.down {
			continue
		}
		most, err := strconv.Atoi(s.conf["maxClientCnxns"])
		switch {
		case err != nil:
		case most > 0 && most < 20:
			x.say(engine.LevelWarning, fmt.Sprintf("%s takes %d connections from one host", s.addr, most),
				"A client of Lockstep has two: one for its claims, one for everything else. Those beyond are refused.", "Raise maxClientCnxns.")
		case most > 0:
			x.ok(fmt.Sprintf("%s takes %d connections from one host", s.addr, most))
		default:
			x.ok(s.addr + " takes any number of connections from one host")
		}
		if s.ro == "ro" {
			x.say(engine.LevelWarning, s.addr+" only reads: it has lost the quorum", "Nothing can be locked or written there.", "Look at its log.")
		}
	}
}

// access looks at who may do what to our nodes, and who may listen.
func (x *examination) access() {
	open := false
	for _, acl := range x.e.conn.acl {
		open = open || acl.Scheme == "world" && acl.Perms != 1
	}
	if open {
		x.say(engine.LevelNote, "nodes are made so that everybody may change them",
			"Whoever reaches the servers can remove a lock.",
			"A user and password in the URL (acl=creator), where other programs' locks need not share the names.")
	} else {
		x.ok("nodes are made so that only who knows the password may change them")
	}
	for _, s := range x.servers {
		host, _, err := net.SplitHostPort(s.addr)
		ip := net.ParseIP(host)
		local := err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
		if !local && x.e.dial == nil && len(x.e.hosts) > 0 {
			x.say(engine.LevelWarning, "the connection to "+s.addr+" is not encrypted",
				"Passwords and values can be read on the way, and answers forged.", "tls=on, and a secureClientPort.")
		}
	}
}
